/* A store on a device of its own, and memory there. */
#ifndef LS_TESTS_STORE_H
#define LS_TESTS_STORE_H

#include "backend/device.h"

static inline int test_store_open(ls_store **out, const char *device, int threads, ls_error *err)
{
    ls_device *dev;
    *out = NULL;
    int ret = ls_device_open(&dev, device, threads, err);
    if (!ret && (ret = ls_store_open(out, dev, 0, err)))
        ls_device_close(&dev);
    return ret;
}

static inline void test_store_close(ls_store **st)
{
    ls_device *dev = *st ? (*st)->device : NULL;
    ls_store_close(st);
    ls_device_close(&dev);
}

static inline void *test_store_alloc(ls_store *st, size_t bytes)
{
    void *memory;
    return st->device->vtable->alloc(st->device, bytes, &memory, NULL) ? NULL : memory;
}

static inline void test_store_release(ls_store *st, void *memory)
{
    st->device->vtable->release(st->device, memory);
}

#endif
