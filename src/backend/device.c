#include "backend/device.h"
#include "base/alloc.h"
#include "base/system.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct opener {
    const char *name;
    int (*open)(ls_device **out, ls_error *err);
} opener;

/* The first is the fastest. */
static const opener cpu[] = {
#if HAVE_ONEDNN
    {"onednn", ls_device_onednn_open},
#endif
    {"ref", ls_device_ref_open},
};

static const opener *find(const char *name)
{
    if (!strcmp(name, "cpu"))
        return cpu;
    for (size_t i = 0; i < LS_COUNT(cpu); i++)
        if (!strcmp(name, cpu[i].name))
            return &cpu[i];
    return NULL;
}

bool ls_device_is_host(const char *name)
{
    return find(name) != NULL;
}

static void describe_cpu(ls_device_info *info, const opener *o, const char *name)
{
    ls_cpu found;
    ls_cpu_detect(&found, "");
    const bool ref = o->open == ls_device_ref_open;
    *info = (ls_device_info){
        .host = true, .fast = !ref && (found.avx512_bf16 || found.amx_bf16) ? LS_BF16 : LS_F32};
    snprintf(info->name, sizeof info->name, "%s", name);
    snprintf(info->version, sizeof info->version, "%s", o->name);
#if HAVE_ONEDNN
    if (!ref)
        ls_device_onednn_version(info->version, sizeof info->version);
#endif
}

static int open_cpu(ls_device **out, const opener *o, const char *name, int threads, ls_error *err)
{
    int ret = o->open(out, err);
    if (ret)
        return ret;
    ls_cpu found;
    ls_cpu_detect(&found, "");
    (*out)->threads = threads > 0 ? threads : found.cores;
    describe_cpu(&(*out)->info, o, name);
    return 0;
}

int ls_device_open(ls_device **out, const char *name, int threads, ls_error *err)
{
    const opener *o = find(name);
    *out = NULL;
    if (o)
        return open_cpu(out, o, name, threads, err);
#if HAVE_CUDA
    if (!strncmp(name, "cuda", 4))
        return ls_device_cuda_open(out, name, err);
#else
    if (!strncmp(name, "cuda", 4))
        return ls_fail(err, LS_EUNSUPPORTED, "this build was made without CUDA");
#endif
#if HAVE_VULKAN
    if (!strncmp(name, "vulkan", 6))
        return ls_device_vulkan_open(out, name, err);
#else
    if (!strncmp(name, "vulkan", 6))
        return ls_fail(err, LS_EUNSUPPORTED, "this build was made without Vulkan");
#endif
    return ls_fail(err, LS_EINVAL,
                   "there is no device \"%s\"; use cpu, cuda, cuda:N, vulkan or vulkan:N", name);
}

void ls_device_close(ls_device **dev)
{
    if (*dev)
        (*dev)->vtable->close(*dev);
    *dev = NULL;
}

bool ls_device_cpu_computes(ls_dtype t)
{
    ls_cpu found;
    ls_cpu_detect(&found, "");
    return t == LS_F32 || (t == LS_BF16 && (!HAVE_ONEDNN || found.avx512)) ||
           (t == LS_I8 && HAVE_ONEDNN && found.avx512_vnni);
}

size_t ls_device_list(const char *kind, ls_device_info *list, size_t most)
{
    size_t n = most > 0 && (!kind || !strcmp(kind, "cpu"));
    if (n)
        describe_cpu(list, cpu, "cpu");
#if HAVE_CUDA
    if (most > n && (!kind || !strcmp(kind, "cuda")))
        n += ls_device_cuda_list(list + n, most - n);
#endif
#if HAVE_VULKAN
    if (most > n && (!kind || !strcmp(kind, "vulkan")))
        n += ls_device_vulkan_list(list + n, most - n);
#endif
    return n;
}

int ls_store_open(ls_store **out, ls_device *dev, unsigned flags, ls_error *err)
{
    return dev->vtable->open_store(dev, flags, out, err);
}

int ls_store_new(ls_store **out, ls_device *dev, unsigned flags, size_t size, ls_error *err)
{
    ls_store *st = *out = ls_calloc_array(1, size);
    if (!st)
        return ls_fail(err, LS_ENOMEM, "out of memory");
    st->device = dev;
    st->flags = flags;
    return 0;
}

void ls_store_close(ls_store **st)
{
    if (*st && (*st)->device->vtable->close_store)
        (*st)->device->vtable->close_store(*st);
    free(*st);
    *st = NULL;
}

int ls_host_alloc(ls_device *dev, size_t bytes, void **out, ls_error *err)
{
    (void)dev;
    *out = ls_aligned_alloc(LS_MEM_NN, bytes);
    return *out ? 0
                : ls_fail(err, LS_ENOMEM, "out of memory: the networks need another %zu MB",
                          bytes >> 20);
}

void ls_host_release(ls_device *dev, void *memory)
{
    (void)dev;
    ls_aligned_free(memory);
}

int ls_host_write(ls_device *dev, void *to, const void *from, size_t bytes, ls_error *err)
{
    (void)dev, (void)err;
    memcpy(to, from, bytes);
    return 0;
}

int ls_host_read(ls_device *dev, void *to, const void *from, size_t bytes, ls_error *err)
{
    (void)dev, (void)err;
    memcpy(to, from, bytes);
    return 0;
}
