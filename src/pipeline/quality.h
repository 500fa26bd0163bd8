/* What the option "quality" stands for. */
#ifndef LS_PIPELINE_QUALITY_H
#define LS_PIPELINE_QUALITY_H

#include "latentsync/sync.h"

enum { LS_QUALITIES = LS_QUALITY_BEST + 1 };

/* Fills in what was left open. Strings are static. */
void ls_quality_fill(ls_sync_settings *s);

#endif
