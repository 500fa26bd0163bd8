#include "server/queue_state.h"
#include "server/basics.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

json_t *queue_upload_row(queue *q, const char *id, ls_error *err)
{
    return store_first(
        q->store, err,
        "SELECT id, name, size, sha256, received, is_complete, created, probe_json, faces_json"
        " FROM uploads WHERE id=?1",
        "s", id);
}

void queue_upload_path(const queue *q, const char *id, char *out, size_t size)
{
    snprintf(out, size, "%s/uploads/%s", q->data, id);
}

void queue_face_path(const queue *q, const char *upload, unsigned n, char *out, size_t size)
{
    snprintf(out, size, "%s/uploads/%s.faces/track-%u.png", q->data, upload, n);
}

int queue_upload_add(queue *q, const char *id, const char *name, uint64_t bytes, const char *sha256,
                     ls_error *err)
{
    const double now = server_time();
    pthread_mutex_lock(&q->lock);
    const int ret = store_do(q->store, err,
                             "INSERT INTO uploads(id, name, size, sha256, created, used)"
                             " VALUES(?1, ?2, ?3, ?4, ?5, ?5)",
                             "ssisd", id, name, (int64_t)bytes, sha256, now);
    pthread_mutex_unlock(&q->lock);
    return ret;
}

json_t *queue_upload(queue *q, const char *id)
{
    pthread_mutex_lock(&q->lock);
    json_t *row = queue_upload_row(q, id, NULL), *out = NULL;
    pthread_mutex_unlock(&q->lock);
    if (json_is_object(row))
        out = json_pack("{s:O, s:O, s:O, s:O, s:s, s:o, s:O}", "id", json_object_get(row, "id"),
                        "name", json_object_get(row, "name"), "size", json_object_get(row, "size"),
                        "received", json_object_get(row, "received"), "state",
                        json_integer_value(json_object_get(row, "is_complete")) ? "complete"
                                                                                : "receiving",
                        "created", queue_time_text(json_object_get(row, "created")), "sha256",
                        json_object_get(row, "sha256"));
    json_decref(row);
    return out;
}

static int changed_one(queue *q, int ret, const char *id, ls_error *err)
{
    return ret || store_changes(q->store)
               ? ret
               : server_fail(err, LS_ENOENT, "there is no upload %s", id);
}

int queue_upload_received(queue *q, const char *id, uint64_t bytes, bool is_complete, ls_error *err)
{
    pthread_mutex_lock(&q->lock);
    int ret = store_do(q->store, err,
                       "UPDATE uploads SET received=?2, is_complete=?3, used=?4 WHERE id=?1",
                       "siid", id, (int64_t)bytes, (int64_t)is_complete, server_time());
    ret = changed_one(q, ret, id, err);
    pthread_mutex_unlock(&q->lock);
    return ret;
}

static int remove_upload(queue *q, const char *id, ls_error *err)
{
    char path[QUEUE_PATH];
    json_t *user = store_first(q->store, err,
                               "SELECT id FROM jobs WHERE state IN ('queued','running')"
                               " AND ?1 IN (video, audio, features)",
                               "s", id);
    int ret = user ? 0 : err->code;
    if (json_is_object(user))
        ret = server_fail(err, LS_EBUSY, "job %s needs this upload",
                          json_string_value(json_object_get(user, "id")));
    json_decref(user);
    if (!ret)
        ret = changed_one(q, store_do(q->store, err, "DELETE FROM uploads WHERE id=?1", "s", id),
                          id, err);
    if (ret)
        return ret;
    queue_tools_end(q, id);
    queue_upload_path(q, id, path, sizeof path - 8);
    folder_remove(path, NULL);
    strcat(path, ".faces");
    folder_remove(path, NULL);
    return 0;
}

int queue_upload_remove(queue *q, const char *id, ls_error *err)
{
    pthread_mutex_lock(&q->lock);
    const int ret = remove_upload(q, id, err);
    pthread_mutex_unlock(&q->lock);
    return ret;
}

static bool is_known_upload(void *opaque, const char *name)
{
    queue *q = opaque;
    char id[QUEUE_ID_SIZE];
    snprintf(id, sizeof id, "%s", name);
    const char *rest = name + strlen(id);
    if (!queue_is_id(id) || (*rest && strcmp(rest, ".faces")))
        return false;
    json_t *row = queue_upload_row(q, id, NULL);
    const bool has_faces = json_is_object(json_object_get(row, "faces"));
    const bool known = !row || (json_is_object(row) && (!*rest || has_faces));
    json_decref(row);
    return known;
}

static bool is_known_job(void *opaque, const char *name)
{
    queue *q = opaque;
    json_t *row = store_first(q->store, NULL, "SELECT number FROM jobs WHERE id=?1", "s", name);
    const bool known = !json_is_null(row);
    json_decref(row);
    return known;
}

static bool is_never_kept(void *opaque, const char *name)
{
    (void)opaque, (void)name;
    return false;
}

static int requeue_all(queue *q, ls_error *err)
{
    size_t i;
    json_t *row, *rows = store_all(q->store, err,
                                   "SELECT number, id, wanted FROM jobs WHERE state='running'", "");
    int ret = rows ? store_begin(q->store, err) : err->code;
    json_array_foreach(rows, i, row)
    {
        const bool ends = *json_string_value(json_object_get(row, "wanted"));
        if (!ret)
            ret = queue_set_state(q, json_integer_value(json_object_get(row, "number")),
                                  json_string_value(json_object_get(row, "id")), NULL,
                                  ends ? "canceled" : "queued", err);
    }
    json_decref(rows);
    return ret ? ret : store_end(q->store, ret, err);
}

int queue_recover(queue *q, ls_error *err)
{
    char path[QUEUE_PATH];
    const int ret = requeue_all(q, err);
    if (ret)
        return ret;
    q->must_purge = true;
    snprintf(path, sizeof path, "%s/uploads", q->data);
    folder_sweep(path, is_known_upload, q);
    snprintf(path, sizeof path, "%s/jobs", q->data);
    folder_sweep(path, is_known_job, q);
    snprintf(path, sizeof path, "%s/tmp", q->data);
    folder_sweep(path, is_never_kept, q);
    return 0;
}

/* Jobs that are to be removed and do not run. Their files first: who is interrupted finds the row.
 */
static void purge(queue *q)
{
    size_t i;
    json_t *row,
        *rows = store_all(q->store, NULL,
                          "SELECT id FROM jobs WHERE wanted='remove' AND state<>'running'", "");
    char path[QUEUE_PATH];
    q->must_purge = false;
    json_array_foreach(rows, i, row)
    {
        const char *id = json_string_value(json_object_get(row, "id"));
        snprintf(path, sizeof path, "%s/jobs/%s", q->data, id);
        if (!folder_remove(path, NULL) &&
            !store_do(q->store, NULL, "DELETE FROM jobs WHERE id=?1", "s", id))
            queue_changed(q, id);
        else
            q->next_sweep = 0;
    }
    json_decref(rows);
}

static void forget_old(queue *q, double before)
{
    size_t i;
    json_t *row;
    ls_error err;
    store_do(q->store, NULL,
             "UPDATE jobs SET wanted='remove' WHERE finished<?1 AND state IN "
             "('done','failed','canceled')",
             "d", before);
    purge(q);
    json_t *rows = store_all(q->store, NULL,
                             "SELECT id FROM uploads WHERE used<?1 AND NOT EXISTS"
                             " (SELECT 1 FROM jobs WHERE uploads.id IN (video, audio, features))",
                             "d", before);
    json_array_foreach(rows, i, row)
    {
        remove_upload(q, json_string_value(json_object_get(row, "id")), &err);
    }
    json_decref(rows);
    json_decref(store_first(q->store, NULL, "PRAGMA wal_checkpoint(TRUNCATE)", ""));
}

void queue_keep(queue *q)
{
    const double now = server_clock();
    if (now >= q->next_sweep) {
        q->next_sweep = now + 60;
        q->must_purge = true;
        if (q->s->keep_seconds > 0)
            forget_old(q, server_time() - q->s->keep_seconds);
    }
    if (q->must_purge)
        purge(q);
}
