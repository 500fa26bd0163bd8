/* Speed of face detection networks, without decoding of video; one JSON object a line.
 * Usage: bench_detect FILE.onnx [runs [threads]] */
#include "base/time.h"
#include "models/face/face_net.h"

#include <stdio.h>
#include <stdlib.h>

static int compare(const void *a, const void *b)
{
    double d = *(const double *)a - *(const double *)b;
    return (d > 0) - (d < 0);
}

int main(int argc, char **argv)
{
    const size_t runs = argc > 2 ? (size_t)atoi(argv[2]) : 50;
    ls_error err = {0};
    ls_face_net *net;
    size_t w, h;
    double *ms = calloc(runs ? runs : 1, sizeof *ms);
    if (argc < 2 || !runs || !ms) {
        fprintf(stderr, "usage: bench_detect FILE.onnx [runs [threads]]\n");
        return 2;
    }
    double start = ls_time_now();
    if (ls_face_net_open(&net, argv[1], argc > 3 ? atoi(argv[3]) : 0, &err)) {
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
    printf("{\"network\": \"%s\", \"width\": %zu, \"height\": %zu, \"dtype\": \"f32\", "
           "\"open_ms\": %.0f, \"median_ms\": %.2f, \"best_ms\": %.2f, \"fps\": %.1f, "
           "\"mbytes\": %.1f}\n",
           argv[1], w, h, opened * 1000, ms[runs / 2], ms[0], 1000 / ms[runs / 2],
           (double)ls_face_net_bytes(net) / 1e6);
    ls_face_net_close(&net);
    free(ms);
    return 0;
}
