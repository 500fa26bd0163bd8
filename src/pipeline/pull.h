/* Downloading the published models into a model directory. */
#ifndef LS_PIPELINE_PULL_H
#define LS_PIPELINE_PULL_H

#include "net/download.h"

#include <stddef.h>

typedef struct ls_pull_settings {
    const char *version; /* "1.6"; or "1.5" */
    const char *folder;  /* the model directory is FOLDER/VERSION; NULL: ls_models_home */
    const char *mirror;  /* "http[s]://HOST[:PORT][/PATH]", used in place of each publisher's
                            https://HOST; it is trusted with what the files are, except for
                            InsightFace's; NULL: the publishers */
    bool faces;          /* 1: InsightFace's too, whose terms the user then has accepted */
    int stall_seconds;   /* 30 */
    int retries;         /* 5 */
    ls_log log;
    void (*progress)(void *opaque, const ls_download_progress *p); /* or NULL */
    void *opaque;
} ls_pull_settings;

/* One thing that is downloaded. */
typedef struct ls_pull_item {
    const char *what, *licence;
    uint64_t bytes; /* about */
} ls_pull_item;

void ls_pull_default_settings(ls_pull_settings *s);

/* What a pull downloads, with its terms; NULL past the last, which is InsightFace's. Static
 * storage; any thread. */
const ls_pull_item *ls_pull_get_item(size_t index);

/* The model directory of these settings. LS_EINVAL for an unknown version. */
int ls_pull_directory(const ls_pull_settings *s, char *dir, size_t size, ls_error *err);

/* Whether the directory has InsightFace's files already, by their size. */
bool ls_pull_has_faces(const char *dir);

/* Downloads what is not there; checks by SHA-256 what is. A file that another version's directory
 * beside this one has too is linked or copied. LS_EBUSY while another process pulls into the
 * directory; LS_ECANCELED; otherwise as ls_download_file. Running it again goes on. */
int ls_pull(const ls_pull_settings *s, const ls_cancel *cancel, ls_error *err);

#endif
