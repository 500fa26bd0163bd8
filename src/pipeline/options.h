/* The table of options, bound to the members of the settings. */
#ifndef LS_PIPELINE_OPTIONS_H
#define LS_PIPELINE_OPTIONS_H

#include "base/error.h"
#include "latentsync/faces.h"
#include "latentsync/option.h"
#include "latentsync/sync.h"

#include <stdbool.h>

/* The type of a member. */
typedef enum ls_member_type {
    LS_MEMBER_INT,
    LS_MEMBER_SIZE,
    LS_MEMBER_INT64,
    LS_MEMBER_UINT64,
    LS_MEMBER_FLOAT,
    LS_MEMBER_DOUBLE,
    LS_MEMBER_STRING
} ls_member_type;

typedef struct ls_option_row {
    ls_option option;
    ls_member_type member;
    size_t sync, faces; /* offset of the member in each of the settings; 0: it has none */
    bool is_later;      /* a result depends on it, but not what the networks make of a chunk */
} ls_option_row;

/* NULL past the last. */
const ls_option_row *ls_option_row_at(size_t index);

/* Every member with an option to its default, in one of the two settings; the other is NULL. */
void ls_options_set_defaults(ls_sync_settings *sync, ls_faces_settings *faces);
/* Checks the range of every member with an option. */
int ls_options_check(const ls_sync_settings *sync, const ls_faces_settings *faces, ls_error *err);

/* The member of a row, as a value and from one that ls_option_parse gave. `settings` are those that
 * `offset` is of. */
ls_option_value ls_option_get(const ls_option_row *row, const void *settings, size_t offset);
void ls_option_put(const ls_option_row *row, void *settings, size_t offset,
                   const ls_option_value *v);

#endif
