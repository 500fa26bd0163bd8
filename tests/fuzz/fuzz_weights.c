#include "fuzz.h"

#include "weights/file.h"

#define MAX_BYTES ((size_t)16 << 20)

/* Opens the bytes as a checkpoint and reads every tensor both ways. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    ls_weights *w;
    if (ls_weights_open_memory(&w, data, size, "fuzz", NULL))
        return 0;
    for (size_t i = 0; i < ls_weights_count(w); i++) {
        const ls_weight_info *t = ls_weights_at(w, i);
        if (ls_weights_find(w, t->name) != t)
            abort();
        if (t->count > MAX_BYTES / 8)
            continue;
        void *raw = malloc(t->count * ls_dtype_size(t->dtype) + 1);
        float *f32 = malloc(t->count * sizeof *f32 + 1);
        if (raw && f32) {
            ls_weights_read(w, t, raw, NULL);
            ls_weights_read_f32(w, t, f32, NULL);
        }
        free(raw);
        free(f32);
    }
    ls_weights_close(&w);
    return 0;
}
