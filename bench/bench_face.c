/* Milliseconds of face geometry per 1080p frame on one core, as JSON. With an argument, also writes
 * the last frame to that file, as a binary PPM. */
#include "base/time.h"
#include "face/align.h"
#include "face/paste.h"
#include "face/restore.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { W = 1920, H = 1080, RUNS = 15 };

static double least_ms(double *best, double since)
{
    double ms = (ls_time_now() - since) * 1e3;
    if (ms < *best)
        *best = ms;
    return *best;
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        size_t resolution;
        double scale; /* crop pixels per frame pixel */
    } cases[] = {{"small", 256, 1.6}, {"medium", 512, 1}, {"large", 512, 0.6}};
    static uint8_t frame[H][W][3], face[512 * 512 * 3];
    static uint8_t y[H][W], cb[H / 2][W / 2], cr[H / 2][W / 2];
    ls_rgb rgb = {frame[0][0], sizeof(frame[0]), W, H};
    ls_picture yuv = {.data = {y[0], cb[0], cr[0]},
                      .stride = {W, W / 2, W / 2},
                      .w = W,
                      .h = H,
                      .depth = 8,
                      .sub_x = 1,
                      .sub_y = 1,
                      .matrix = LS_COLOR_BT709};
    for (size_t i = 0; i < H; i++)
        for (size_t x = 0; x < W * 3; x++)
            frame[i][x / 3][x % 3] = (uint8_t)(x / 3 / 8 * (1 + x % 3) + i / 8);
    float *image = malloc(sizeof(face) * sizeof(float));
    printf("[");
    for (size_t k = 0; k < sizeof(cases) / sizeof(*cases) && image; k++) {
        size_t n = cases[k].resolution, w, h;
        double c = cases[k].scale * cos(0.1), s = cases[k].scale * sin(0.1);
        double crop = INFINITY, restore_rgb = INFINITY, restore_yuv = INFINITY, paste = INFINITY;
        ls_crop_size(n, &w, &h);
        ls_matrix m = {{{(float)c, (float)-s, (float)((double)w / 2 - c * W / 2 + s * H / 2)},
                        {(float)s, (float)c, (float)((double)h / 2 - s * W / 2 - c * H / 2)}}};
        for (size_t i = 0; i < n * n * 3; i++)
            image[i] = (float)sin((double)(i / 3 % n) / 9 + (double)(i / 3 / n) / 5);
        ls_cropper *cropper = NULL;
        ls_restore *r = NULL;
        ls_paste *p = NULL;
        if (ls_cropper_open(&cropper, n, NULL) || ls_restore_open(&r, n, NULL) ||
            ls_paste_open(&p, n, LS_SHARPEN_AUTO, NULL))
            return 1;
        for (int i = 0; i < RUNS; i++) {
            double t = ls_time_now();
            ls_cropper_run(cropper, face, &m, &rgb, 0, 0);
            least_ms(&crop, t);
            t = ls_time_now();
            if (ls_restore_yuv(r, image, &m, 1, &yuv, NULL))
                return 1;
            least_ms(&restore_yuv, t);
            t = ls_time_now();
            if (ls_paste_yuv(p, image, face, &m, 1, &yuv, NULL))
                return 1;
            least_ms(&paste, t);
            t = ls_time_now();
            if (ls_restore_rgb(r, image, &m, 1, &rgb, NULL))
                return 1;
            least_ms(&restore_rgb, t);
        }
        ls_restore_view v = ls_restore_last(r);
        printf(
            "%s\n {\"face\": \"%s\", \"resolution\": %zu, \"rect\": [%zu, %zu], \"radius\": %zu, "
            "\"crop_ms\": %.2f, \"restore_yuv_ms\": %.2f, \"restore_rgb_ms\": %.2f, \"paste_ms\": "
            "%.2f}",
            k ? "," : "", cases[k].name, n, v.rect.w, v.rect.h, v.radius, crop, restore_yuv,
            restore_rgb, paste);
        ls_cropper_close(&cropper);
        ls_restore_close(&r);
        ls_paste_close(&p);
    }
    printf("\n]\n");
    free(image);
    FILE *f = argc > 1 ? fopen(argv[1], "wb") : NULL;
    if (f) {
        fprintf(f, "P6 %d %d 255\n", W, H);
        fwrite(frame, sizeof(frame), 1, f);
        fclose(f);
    }
    return 0;
}
