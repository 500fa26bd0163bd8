#include "server/store.h"
#include "server/fail.h"

#include <sqlite3.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { STORE_VERSION = 1, MAX_STATEMENTS = 64 };

struct store {
    sqlite3 *db;
    struct {
        const char *sql; /* the literal itself is the key */
        sqlite3_stmt *statement;
    } prepared[MAX_STATEMENTS];
    size_t count;
};

/* "wanted" is what a process that is still running is ended for: "cancel" or "remove". Events of a
 * job are numbered from next_event, which goes ahead of what is stored, so that no number is used
 * twice, whatever ends the server. */
static const char schema[] =
    "CREATE TABLE uploads(id TEXT PRIMARY KEY NOT NULL, name TEXT NOT NULL, size INTEGER NOT NULL,"
    " sha256 TEXT, received INTEGER NOT NULL DEFAULT 0, is_complete INTEGER NOT NULL DEFAULT 0,"
    " created REAL NOT NULL, used REAL NOT NULL, probe_json TEXT, faces_json TEXT);"
    "CREATE TABLE jobs(number INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT UNIQUE NOT NULL,"
    " name TEXT NOT NULL, state TEXT NOT NULL CHECK(state IN"
    " ('queued','running','done','failed','canceled')), wanted TEXT NOT NULL DEFAULT '',"
    " priority INTEGER NOT NULL, video TEXT NOT NULL, audio TEXT NOT NULL, features TEXT,"
    " request_json TEXT NOT NULL, created REAL NOT NULL, started REAL, finished REAL,"
    " not_before REAL NOT NULL DEFAULT 0, crashes INTEGER NOT NULL DEFAULT 0,"
    " next_event INTEGER NOT NULL DEFAULT 1, progress_json TEXT, error_json TEXT,"
    " result_json TEXT);"
    "CREATE INDEX waiting ON jobs(state, priority DESC, number);"
    "CREATE TABLE events(job INTEGER NOT NULL REFERENCES jobs ON DELETE CASCADE,"
    " number INTEGER NOT NULL, event TEXT NOT NULL, data_json TEXT NOT NULL,"
    " PRIMARY KEY(job, number)) WITHOUT ROWID;"
    "CREATE TABLE keys(key TEXT PRIMARY KEY NOT NULL, request TEXT NOT NULL,"
    " job INTEGER NOT NULL REFERENCES jobs ON DELETE CASCADE) WITHOUT ROWID;"
    "CREATE INDEX keys_of_job ON keys(job);"
    "PRAGMA user_version=1;";

static int fail(store *s, ls_error *err)
{
    const int code = sqlite3_errcode(s->db) & 0xff;
    return server_fail(err,
                       code == SQLITE_FULL                               ? LS_ENOSPC
                       : code == SQLITE_NOMEM                            ? LS_ENOMEM
                       : code == SQLITE_BUSY                             ? LS_EBUSY
                       : code == SQLITE_CORRUPT || code == SQLITE_NOTADB ? LS_EFORMAT
                                                                         : LS_EIO,
                       "the server's database: %s", sqlite3_errmsg(s->db));
}

static int execute(store *s, const char *sql, ls_error *err)
{
    return sqlite3_exec(s->db, sql, NULL, NULL, NULL) == SQLITE_OK ? 0 : fail(s, err);
}

static int statement(store *s, sqlite3_stmt **out, const char *sql, ls_error *err)
{
    for (size_t i = 0; i < s->count; i++) {
        *out = s->prepared[i].statement;
        if (s->prepared[i].sql == sql)
            return 0;
    }
    *out = NULL;
    if (s->count == MAX_STATEMENTS)
        return server_fail(err, LS_EINVAL, "the server's database: too many statements");
    if (sqlite3_prepare_v3(s->db, sql, -1, SQLITE_PREPARE_PERSISTENT, out, NULL) != SQLITE_OK)
        return fail(s, err);
    s->prepared[s->count].sql = sql;
    s->prepared[s->count++].statement = *out;
    return 0;
}

static int bind(store *s, sqlite3_stmt **out, const char *sql, const char *types, va_list args,
                ls_error *err)
{
    int ret = statement(s, out, sql, err);
    for (int i = 0; !ret && types[i]; i++) {
        int said = SQLITE_MISUSE;
        if (types[i] == 's')
            said = sqlite3_bind_text(*out, i + 1, va_arg(args, const char *), -1, SQLITE_TRANSIENT);
        else if (types[i] == 'i')
            said = sqlite3_bind_int64(*out, i + 1, va_arg(args, int64_t));
        else if (types[i] == 'd')
            said = sqlite3_bind_double(*out, i + 1, va_arg(args, double));
        if (said != SQLITE_OK)
            ret = fail(s, err);
    }
    return ret;
}

static void release(sqlite3_stmt *statement)
{
    if (!statement)
        return;
    sqlite3_reset(statement);
    sqlite3_clear_bindings(statement);
}

static json_t *column(sqlite3_stmt *row, int i, bool is_json)
{
    switch (sqlite3_column_type(row, i)) {
    case SQLITE_INTEGER:
        return json_integer(sqlite3_column_int64(row, i));
    case SQLITE_FLOAT:
        return json_real(sqlite3_column_double(row, i));
    case SQLITE_TEXT: {
        const char *text = (const char *)sqlite3_column_text(row, i);
        const size_t bytes = (size_t)sqlite3_column_bytes(row, i);
        json_t *value = is_json ? json_loadb(text, bytes, JSON_DECODE_ANY, NULL) : NULL;
        return value || is_json ? value : json_stringn(text, bytes);
    }
    default:
        return json_null();
    }
}

static json_t *row_object(sqlite3_stmt *row)
{
    static const char mark[] = "_json";
    json_t *object = json_object();
    for (int i = 0; i < sqlite3_column_count(row); i++) {
        char name[64];
        snprintf(name, sizeof name, "%s", sqlite3_column_name(row, i));
        const size_t length = strlen(name), tail = sizeof mark - 1;
        const bool is_json = length > tail && !strcmp(name + length - tail, mark);
        if (is_json)
            name[length - tail] = '\0';
        json_t *value = column(row, i, is_json);
        json_object_set_new(object, name, value ? value : json_null());
    }
    return object;
}

int store_do(store *s, ls_error *err, const char *sql, const char *types, ...)
{
    sqlite3_stmt *row;
    va_list args;
    va_start(args, types);
    int ret = bind(s, &row, sql, types, args, err);
    va_end(args);
    if (!ret && sqlite3_step(row) != SQLITE_DONE)
        ret = fail(s, err);
    release(row);
    return ret;
}

int64_t store_changes(const store *s)
{
    return sqlite3_changes(s->db);
}

static json_t *rows(store *s, ls_error *err, const char *sql, const char *types, va_list args)
{
    sqlite3_stmt *row;
    json_t *all = json_array();
    int ret = bind(s, &row, sql, types, args, err), said = SQLITE_DONE;
    while (!ret && (said = sqlite3_step(row)) == SQLITE_ROW)
        json_array_append_new(all, row_object(row));
    if (!ret && said != SQLITE_DONE)
        ret = fail(s, err);
    release(row);
    if (ret) {
        json_decref(all);
        all = NULL;
    }
    return all;
}

json_t *store_all(store *s, ls_error *err, const char *sql, const char *types, ...)
{
    va_list args;
    va_start(args, types);
    json_t *all = rows(s, err, sql, types, args);
    va_end(args);
    return all;
}

json_t *store_first(store *s, ls_error *err, const char *sql, const char *types, ...)
{
    va_list args;
    va_start(args, types);
    json_t *all = rows(s, err, sql, types, args);
    va_end(args);
    if (!all)
        return NULL;
    json_t *first = json_array_size(all) ? json_incref(json_array_get(all, 0)) : json_null();
    json_decref(all);
    return first;
}

int store_begin(store *s, ls_error *err)
{
    return store_do(s, err, "BEGIN IMMEDIATE", "");
}

int store_end(store *s, int ret, ls_error *err)
{
    if (!ret)
        ret = store_do(s, err, "COMMIT", "");
    if (ret && !sqlite3_get_autocommit(s->db))
        store_do(s, NULL, "ROLLBACK", "");
    return ret;
}

static int64_t number_of(store *s, const char *sql, ls_error *err)
{
    json_t *row = store_first(s, err, sql, "");
    const int64_t number =
        row ? json_integer_value(json_object_iter_value(json_object_iter(row))) : -1;
    json_decref(row);
    return number;
}

static int check(store *s, const char *path, ls_error *err)
{
    json_t *row = store_first(s, err, "PRAGMA quick_check(1)", "");
    const char *said = json_string_value(json_object_get(row, "quick_check"));
    int ret = row ? 0 : err->code;
    if (row && (!said || strcmp(said, "ok")))
        ret = server_fail(err, LS_EFORMAT,
                          "%s is damaged (%s): move it away to begin with an empty "
                          "one, or restore a copy",
                          path, said ? said : "no answer");
    json_decref(row);
    return ret;
}

static int prepare(store *s, const char *path, ls_error *err)
{
    /* What was deleted is overwritten. A database from elsewhere runs no functions. */
    int ret = execute(s,
                      "PRAGMA trusted_schema=OFF; PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;"
                      "PRAGMA foreign_keys=ON; PRAGMA secure_delete=ON",
                      err);
    if (!ret)
        ret = check(s, path, err);
    const int64_t version = ret ? 0 : number_of(s, "PRAGMA user_version", err);
    if (ret || version < 0)
        return ret ? ret : err->code;
    if (version > STORE_VERSION)
        return server_fail(err, LS_EUNSUPPORTED,
                           "%s was made by a newer version of this program "
                           "(format %lld, this one knows %d): use that one",
                           path, (long long)version, STORE_VERSION);
    if (version == STORE_VERSION)
        return 0;
    ret = store_begin(s, err);
    return ret ? ret : store_end(s, execute(s, schema, err), err);
}

int store_open(store **out, const char *path, ls_error *err)
{
    *out = NULL;
    store *s = calloc(1, sizeof *s);
    if (!s)
        return server_fail(err, LS_ENOMEM, "no memory for the server's database");
    const int flags =
        SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_NOFOLLOW;
    int ret = sqlite3_open_v2(path, &s->db, flags, NULL) == SQLITE_OK ? 0 : fail(s, err);
    if (!ret) {
        sqlite3_busy_timeout(s->db, 5000); // somebody may be looking at it
        ret = prepare(s, path, err);
    }
    if (ret)
        store_close(s);
    else
        *out = s;
    return ret;
}

void store_close(store *s)
{
    for (size_t i = 0; s && i < s->count; i++)
        sqlite3_finalize(s->prepared[i].statement);
    if (s)
        sqlite3_close(s->db);
    free(s);
}
