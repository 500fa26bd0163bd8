/* The model directory that published files are downloaded or imported into. */
#ifndef LS_PULL_STORE_H
#define LS_PULL_STORE_H

#include "net/download.h"
#include "pull/known.h"

#include <limits.h>

/* UNet, Whisper, VAE and the two SyncNets are files of the directory that are downloaded as they
 * are; the two face networks behind them come in one archive. */
enum {
    LS_MODEL_STORE_SYNCNET = 3, /* the first of them */
    LS_MODEL_STORE_FACES = 5,
    LS_MODEL_STORE_FILES = 7,
    LS_MODEL_STORE_ARCHIVE = LS_MODEL_STORE_FACES
};

typedef struct ls_model_store {
    ls_pull_settings s; /* complete, whatever version of the struct the caller knows */
    char dir[PATH_MAX - 128];
    const char *hub, *archive; /* mirrors of the publishers, or NULL */
    const char *token;
    bool reached[2];
    int lock;
    ls_log log;
    struct {
        const char *name; /* in the directory */
        const ls_known_file *known;
        bool wanted, there;
    } files[LS_MODEL_STORE_FILES];
} ls_model_store;

/* Creates and locks the directory, and looks which files are there, or in another version's
 * directory beside it: those that the settings want, or `all`, of which only the SyncNets are then
 * not wanted unless the settings say so. `s` must outlive it. After a failure, too,
 * ls_model_store_close is due. */
int ls_model_store_open(ls_model_store *st, const ls_pull_settings *s, bool all, ls_error *err);
void ls_model_store_close(ls_model_store *st);

/* Whether a file that is wanted is not there. */
bool ls_model_store_lacks(const ls_model_store *st, size_t first, size_t end);

typedef struct ls_model_store_paths {
    char path[PATH_MAX], url[4096];
} ls_model_store_paths;

/* How to download file `i`, or LS_MODEL_STORE_ARCHIVE. `paths` holds strings of *d. */
int ls_model_store_describe(ls_model_store *st, size_t i, ls_model_store_paths *paths,
                            ls_download *d, ls_error *err);
/* Makes the folders in front of the last '/'. */
int ls_model_store_make_folders(const char *path, ls_error *err);

/* Links file `i` to a verified file elsewhere: hard, else by a symbolic link, else copies it. */
int ls_model_store_place(ls_model_store *st, size_t i, const char *from, ls_error *err);
/* Unpacks the missing face networks from the archive. */
int ls_model_store_extract(ls_model_store *st, const char *archive, ls_error *err);
/* Writes model.json. */
int ls_model_store_write_about(const ls_model_store *st, ls_error *err);

/* Reports `heading`, and then URL, SHA-256 and path of each missing file. */
void ls_model_store_list_missing(ls_model_store *st, int level, const char *heading);

/* A message of any length; control characters in names become '?'. */
void ls_model_store_say(const ls_model_store *st, int level, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

#endif
