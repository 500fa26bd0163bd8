/* Speed of face detection networks, without video decoding; one JSON object per line.
 * Usage: bench_detect [FILE.onnx [runs]] */
#include "base/time.h"
#include "models/face/face_net.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static int compare(const void *a, const void *b)
{
    double d = *(const double *)a - *(const double *)b;
    return (d > 0) - (d < 0);
}

static int measure(const char *path, ls_dtype dtype, size_t runs, double *ms)
{
    ls_error err = {0};
    ls_face_net *net;
    size_t w, h;
    double start = ls_time_now();
    if (ls_face_net_open(&net, path, dtype, 0, &err)) {
        fprintf(stderr, "%s\n", err.message);
        return 1;
    }
    double opened = ls_time_now() - start;
    ls_face_net_size(net, &w, &h);
    for (size_t i = 0; i < w * h * 3; i++)
        ls_face_net_input(net)[i] = (float)(i % 255) / 128 - 1;
    for (size_t i = 0; i < runs + 3; i++) {
        start = ls_time_now();
        if (ls_face_net_run(net, NULL, &err))
            return 1;
        if (i >= 3)
            ms[i - 3] = (ls_time_now() - start) * 1000;
    }
    qsort(ms, runs, sizeof *ms, compare);
    printf("{\"network\": \"%s\", \"width\": %zu, \"height\": %zu, \"dtype\": \"%s\", "
           "\"open_ms\": %.0f, \"median_ms\": %.2f, \"best_ms\": %.2f, \"fps\": %.1f, "
           "\"mbytes\": %.1f}\n",
           path, w, h, ls_dtype_name(dtype), opened * 1000, ms[runs / 2], ms[0],
           1000 / ms[runs / 2], (double)ls_face_net_bytes(net) / 1e6);
    ls_face_net_close(&net);
    return 0;
}

int main(int argc, char **argv)
{
    static const char *const usual[] = {"../shared/models/scrfd_2.5g_kps.onnx",
                                        "../shared/models/scrfd_500m_kps.onnx",
                                        "../shared/models/yunet_n_640_640.onnx"};
    const size_t runs = argc > 2 ? (size_t)atoi(argv[2]) : 50;
    double *ms = calloc(runs ? runs : 1, sizeof *ms);
    if (!runs || !ms) {
        fprintf(stderr, "usage: bench_detect [FILE.onnx [runs]]\n");
        return 2;
    }
    int ret = 0;
    for (size_t i = 0; !ret && i < (argc > 1 ? 1 : sizeof usual / sizeof *usual); i++) {
        const char *path = argc > 1 ? argv[1] : usual[i];
        if (access(path, R_OK)) {
            fprintf(stderr, "%s not found; name the ONNX file of a face detector\n", path);
            break;
        }
        ret = measure(path, LS_F32, runs, ms) || measure(path, LS_BF16, runs, ms);
    }
    free(ms);
    return ret;
}
