#include "pipeline/engine.h"
#include "base/alloc.h"
#include "pipeline/device_choice.h"

#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* What shows that a file is still the one that was opened. */
typedef struct stamp {
    dev_t device;
    ino_t inode;
    off_t size;
    struct timespec modified;
} stamp;

typedef struct entry {
    struct entry *next;
    char *dir;
    ls_device_names names;
    ls_dtype dtype;
    int threads;
    stamp files[LS_NETWORKS];
    size_t users;
    ls_models models;
} entry;

struct ls_engine {
    pthread_mutex_t lock; /* of all below */
    entry *entries;
};

int ls_engine_open(ls_engine **out, ls_error *err)
{
    ls_engine *e = *out = ls_calloc_array(1, sizeof *e);
    if (!e)
        return ls_fail(err, LS_ENOMEM, "out of memory");
    pthread_mutex_init(&e->lock, NULL);
    return 0;
}

static void free_entry(entry *n)
{
    ls_models_close(&n->models);
    free(n->dir);
    free(n);
}

void ls_engine_trim(ls_engine *e)
{
    pthread_mutex_lock(&e->lock);
    for (entry **p = &e->entries; *p;) {
        entry *n = *p;
        if (n->users) {
            p = &n->next;
            continue;
        }
        *p = n->next;
        free_entry(n);
    }
    pthread_mutex_unlock(&e->lock);
}

void ls_engine_close(ls_engine **pe)
{
    if (!*pe)
        return;
    ls_engine_trim(*pe);
    pthread_mutex_destroy(&(*pe)->lock);
    free(*pe);
    *pe = NULL;
}

size_t ls_engine_models(ls_engine *e, uint64_t *weight_bytes)
{
    size_t count = 0;
    uint64_t bytes = 0;
    pthread_mutex_lock(&e->lock);
    for (entry *n = e->entries; n; n = n->next, count++) {
        const ls_models_memory m = ls_models_packed(&n->models);
        bytes += m.host + m.device;
    }
    pthread_mutex_unlock(&e->lock);
    if (weight_bytes)
        *weight_bytes = bytes;
    return count;
}

static void stamp_files(const ls_models *m, stamp files[LS_NETWORKS])
{
    ls_network *nets[LS_NETWORKS];
    struct stat st;
    ls_models_list(m, nets);
    for (size_t i = 0; i < LS_NETWORKS; i++) {
        memset(&files[i], 0, sizeof files[i]);
        if (!stat(ls_weights_path(ls_network_weights(nets[i])), &st)) {
            files[i].device = st.st_dev;
            files[i].inode = st.st_ino;
            files[i].size = st.st_size;
            files[i].modified = st.st_mtim;
        }
    }
}

static bool is_for(const entry *n, const ls_model_request *r, const char *dir)
{
    const ls_devices *d = &r->devices;
    return !strcmp(n->dir, dir) && n->dtype == d->dtype && n->threads == d->threads &&
           !strcmp(n->names.of[0], d->unet) && !strcmp(n->names.of[1], d->vae) &&
           !strcmp(n->names.of[2], d->whisper);
}

static entry *find(ls_engine *e, const ls_model_request *r, const char *dir)
{
    stamp now[LS_NETWORKS];
    for (entry *n = e->entries; n; n = n->next) {
        if (!is_for(n, r, dir))
            continue;
        stamp_files(&n->models, now);
        if (!memcmp(now, n->files, sizeof now))
            return n;
    }
    return NULL;
}

static int open_entry(entry **out, const ls_model_request *r, const char *dir, ls_error *err)
{
    entry *n = *out = ls_calloc_array(1, sizeof *n);
    if (!n)
        return ls_fail(err, LS_ENOMEM, "out of memory");
    const char *const names[LS_NETWORKS] = {r->devices.unet, r->devices.vae, r->devices.whisper};
    for (size_t i = 0; i < LS_NETWORKS; i++)
        snprintf(n->names.of[i], LS_DEVICE_NAME, "%s", names[i]);
    n->dtype = r->devices.dtype;
    n->threads = r->devices.threads;
    n->dir = strdup(dir);
    int ret = n->dir ? ls_models_open(&n->models, r->dir, &r->devices, err)
                     : ls_fail(err, LS_ENOMEM, "out of memory");
    if (ret) {
        free(n->dir);
        free(n);
        *out = NULL;
        return ret;
    }
    stamp_files(&n->models, n->files);
    return 0;
}

int ls_engine_borrow(ls_engine *e, const ls_model_request *r, ls_models **out, ls_error *err)
{
    char whole[PATH_MAX];
    const char *dir = realpath(r->dir, whole) ? whole : r->dir; // opening reports what is wrong
    int ret = 0;
    *out = NULL;
    pthread_mutex_lock(&e->lock);
    entry *n = find(e, r, dir);
    if (!n && !(ret = open_entry(&n, r, dir, err))) {
        n->next = e->entries;
        e->entries = n;
    }
    if (!ret) {
        n->users++;
        *out = &n->models;
    }
    pthread_mutex_unlock(&e->lock);
    return ret;
}

void ls_engine_return(ls_engine *e, ls_models **m)
{
    if (!*m)
        return;
    pthread_mutex_lock(&e->lock);
    for (entry *n = e->entries; n; n = n->next)
        if (&n->models == *m)
            n->users--;
    pthread_mutex_unlock(&e->lock);
    *m = NULL;
}
