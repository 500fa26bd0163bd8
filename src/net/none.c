#include "net/download.h"

int ls_download_file(const ls_download *d, bool *there, ls_error *err)
{
    *there = false;
    return ls_advise(
        err,
        ls_fail(err, LS_EUNSUPPORTED, "%s: this build of latentsync has no networking", d->name),
        LS_HINT_FETCH_BY_HAND, NULL);
}
