/* Any bytes as a checkpoint: open it, and read every tensor of a moderate size. */
#include "weights/internal.h"
#include "base/alloc.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    ls_weights *w;
    ls_error err = {0};
    if (ls_weights_open_memory(&w, "fuzz", data, size, &err))
        return 0;
    int64_t v;
    ls_weights_meta_int(w, "a", &v);
    for (size_t i = 0; i < ls_weights_count(w); i++) {
        const ls_weight_info *info = ls_weights_at(w, i);
        void *dst = info->count < 1 << 20 ? ls_malloc_array(info->count, 8) : NULL;
        if (dst && (!ls_weights_find(w, info->name) || ls_weights_read(w, info, dst, &err) ||
                    ls_weights_read_f32(w, info, dst, &err)))
            abort();
        free(dst);
    }
    ls_weights_close(&w);
    return 0;
}
