#include "backend/backend.h"
#include "base/system.h"

#include <stdio.h>
#include <string.h>

int ls_backend_open(ls_backend **out, const char *name, int threads, ls_error *err)
{
    *out = NULL;
    int ret;
    if (!strcmp(name, "ref"))
        ret = ls_backend_ref_open(out, err);
#if HAVE_ONEDNN
    else if (!strcmp(name, "onednn"))
        ret = ls_backend_onednn_open(out, err);
#endif
    else
        return ls_fail(err, LS_EINVAL, "unknown backend \"%s\"; use ref%s", name,
                       HAVE_ONEDNN ? " or onednn" : "; this build has no oneDNN");
    if (ret)
        return ret;
    ls_cpu cpu;
    ls_cpu_detect(&cpu, "");
    (*out)->threads = threads > 0 ? threads : cpu.cores;
    return 0;
}

void ls_backend_close(ls_backend **be)
{
    if (*be)
        (*be)->vtable->close(*be);
    *be = NULL;
}

const char *ls_backend_default(void)
{
    return HAVE_ONEDNN ? "onednn" : "ref";
}

void ls_backend_version(char *text, size_t size)
{
#if HAVE_ONEDNN
    ls_backend_onednn_version(text, size);
#else
    snprintf(text, size, "%s", ls_backend_default());
#endif
}

bool ls_backend_prefers_bf16(void)
{
    ls_cpu cpu;
    ls_cpu_detect(&cpu, "");
    return HAVE_ONEDNN && (cpu.avx512_bf16 || cpu.amx_bf16);
}
