#include "server/form.h"
#include "server/basics.h"
#include "server/fail.h"
#include "server/tasks.h"
#include "server/upload.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

enum { PARTS = 3, BUFFER = 16 << 10 };

static const char *const part_names[PARTS] = {"video", "audio", "features_from"};

typedef struct form_part {
    char id[QUEUE_ID_SIZE], name[256];
    int fd; /* -1: there is no such part */
    char *path;
    uint64_t size;
    bool is_upload; /* the queue knows it */
} form_part;

struct http_form {
    http_request *request;
    struct MHD_PostProcessor *parser;
    form_part parts[PARTS];
    json_t *job;                             /* what the fields say */
    char field[64], text[HTTP_MAX_JSON + 1]; /* the field that is arriving */
    size_t text_size, texts_size;            /* its bytes, and of all fields */
};

bool form_is(const http_request *r)
{
    const char *type = http_value(r, "Content-Type");
    return type && !strncasecmp(type, "multipart/form-data", 19);
}

static void refuse(http_form *f, const char *name, const char *why)
{
    http_fail(f->request, MHD_HTTP_BAD_REQUEST, NULL, "%s: %s", name, why);
}

/* Its text as the member of a job, or as an option. */
static json_t *field_value(http_form *f, json_t **into)
{
    char *end;
    const char *name = f->field;
    *into = f->job;
    if (!strcmp(name, "options"))
        return json_loadb(f->text, f->text_size, JSON_REJECT_DUPLICATES, NULL);
    if (!strcmp(name, "priority")) {
        const long n = strtol(f->text, &end, 10);
        return *end ? NULL : json_integer(n);
    }
    if (!strcmp(name, "preview")) {
        const double seconds = strtod(f->text, &end);
        return !strcmp(f->text, "true")    ? json_true()
               : !strcmp(f->text, "false") ? json_null()
               : *end                      ? NULL
                                           : json_real(seconds);
    }
    if (strcmp(name, "name") && strcmp(name, "webhook") && strcmp(name, "video") &&
        strcmp(name, "audio") && strcmp(name, "features_from"))
        *into = json_object_get(f->job, "options");
    return json_stringn(f->text, f->text_size);
}

/* The field is complete; an empty one counts as absent. */
static void end_field(http_form *f)
{
    json_t *into, *value;
    f->text[f->text_size] = '\0';
    if (!*f->field || !f->text_size || f->request->response)
        return;
    value = strlen(f->text) == f->text_size ? field_value(f, &into) : NULL;
    if (!value)
        refuse(f, f->field, "the value is malformed");
    else if (!strcmp(f->field, "options"))
        json_object_update_missing(json_object_get(f->job, "options"), value);
    else
        json_object_set(into, f->field, value);
    json_decref(value);
    f->text_size = 0;
}

static void take_text(http_form *f, const char *data, size_t size)
{
    if (size > HTTP_MAX_JSON - f->texts_size) {
        http_fail(f->request, MHD_HTTP_CONTENT_TOO_LARGE, NULL,
                  "the fields have more than %d bytes", HTTP_MAX_JSON);
        return;
    }
    memcpy(f->text + f->text_size, data, size);
    f->text_size += size;
    f->texts_size += size;
}

static bool begin_part(http_form *f, form_part *p, const char *field, const char *name)
{
    char path[4096];
    const char *slash = strrchr(name, '/');
    name = slash ? slash + 1 : name;
    name = *name ? name : field;
    if (p->fd >= 0 || !server_is_label(name)) {
        refuse(f, field, p->fd >= 0 ? "it is there twice" : "the name is malformed or too long");
        return false;
    }
    strcpy(p->name, name);
    queue_new_id(p->id);
    queue_upload_path(f->request->server->queue, p->id, path, sizeof path);
    p->path = strdup(path);
    p->fd = p->path ? open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600) : -1;
    if (p->fd < 0)
        http_fail(f->request, MHD_HTTP_INTERNAL_SERVER_ERROR, NULL,
                  "cannot open the upload's file");
    return p->fd >= 0;
}

static void take_part(http_form *f, form_part *p, const char *data, size_t size)
{
    const uint64_t most = f->request->server->settings->max_upload;
    ls_error err = {0};
    if (size > most - p->size)
        http_fail(f->request, MHD_HTTP_CONTENT_TOO_LARGE, NULL,
                  "the server takes files of up to %llu bytes", (unsigned long long)most);
    else if (upload_write(p->fd, data, size, p->size, &err))
        http_fail_error(f->request, &err);
    else
        p->size += size;
}

static form_part *find_part(http_form *f, const char *name)
{
    for (int i = 0; i < PARTS; i++)
        if (!strcmp(name, part_names[i]))
            return &f->parts[i];
    return NULL;
}

static void begin_field(http_form *f, const char *name)
{
    end_field(f);
    *f->field = '\0';
    if (strlen(name) >= sizeof f->field || !*name)
        refuse(f, "a field", "the name is empty or too long");
    else
        strcpy(f->field, name);
}

static enum MHD_Result on_value(void *opaque, enum MHD_ValueKind kind, const char *name,
                                const char *file, const char *type, const char *encoding,
                                const char *data, uint64_t at, size_t size)
{
    http_form *f = opaque;
    (void)kind, (void)type, (void)encoding;
    if (!name)
        refuse(f, "a part of the form", "Content-Disposition names no field");
    if (f->request->response)
        return MHD_YES; // the rest is dropped
    form_part *p = file ? find_part(f, name) : NULL;
    if (!at)
        begin_field(f, name);
    if (file && !p)
        refuse(f, name, "no file is expected here");
    else if (!file)
        take_text(f, data, size);
    else if (at || begin_part(f, p, name, file))
        take_part(f, p, data, size);
    return MHD_YES;
}

static bool take(http_request *r, const char *data, size_t size)
{
    if (MHD_post_process(r->form->parser, data, size) != MHD_YES)
        http_fail(r, MHD_HTTP_BAD_REQUEST, NULL, "the form is malformed");
    return true;
}

bool form_open(http_request *r)
{
    http_form *f = calloc(1, sizeof *f);
    if (!f)
        return false;
    r->form = f;
    f->request = r;
    f->job = json_pack("{s:{}}", "options");
    for (int i = 0; i < PARTS; i++)
        f->parts[i].fd = -1;
    return true;
}

void form_add_file(http_request *r, const char *member, const char *data, size_t size)
{
    form_part *p = find_part(r->form, member);
    ls_error err = {0};
    if (queue_check_space(r->server->queue, size, &err))
        http_fail_error(r, &err);
    else if (begin_part(r->form, p, member, ""))
        take_part(r->form, p, data, size);
}

json_t *form_job(http_request *r)
{
    return r->form->job;
}

void form_begin(http_request *r)
{
    const uint64_t most = r->server->settings->max_upload, length = http_length(r);
    ls_error err = {0};
    if (!form_open(r))
        return;
    http_form *f = r->form;
    f->parser = MHD_create_post_processor(r->connection, BUFFER, on_value, f);
    r->take = take;
    if (!f->parser)
        http_fail(r, MHD_HTTP_UNSUPPORTED_MEDIA_TYPE, NULL, "the form has no boundary");
    else if (length != UINT64_MAX && length / PARTS > most)
        http_fail(r, MHD_HTTP_CONTENT_TOO_LARGE, NULL, "the server takes files of up to %llu bytes",
                  (unsigned long long)most);
    else if (queue_check_space(r->server->queue, length == UINT64_MAX ? 0 : length, &err))
        http_fail_error(r, &err);
}

typedef struct form_task {
    task task;
    http_request *held;
    char *key;
} form_task;

static int add_upload(http_form *f, int i, ls_error *err)
{
    form_part *p = &f->parts[i];
    queue *q = f->request->server->queue;
    char digest[65];
    if (p->fd < 0)
        return 0;
    if (!p->size)
        return server_fail(err, LS_EFORMAT, "%s: the file is empty", part_names[i]);
    if (fdatasync(p->fd))
        return server_fail(err, errno == ENOSPC ? LS_ENOSPC : LS_EIO, "cannot write the upload: %s",
                           strerror(errno));
    int ret = upload_digest(p->fd, digest, err);
    if (!ret)
        ret = queue_upload_add(q, p->id, p->name, p->size, digest, err);
    p->is_upload = !ret;
    if (!ret)
        ret = queue_upload_received(q, p->id, p->size, true, err);
    json_object_set_new(f->job, part_names[i], json_string(p->id));
    return ret;
}

static void run_form(task *base)
{
    form_task *t = (form_task *)base;
    http_form *f = t->held->form;
    ls_error err = {0};
    int ret = 0;
    for (int i = 0; i < PARTS && !ret; i++)
        ret = add_upload(f, i, &err);
    if (!ret)
        ret = queue_job_add(f->request->server->queue, f->job, t->key, http_answer, t->held, &err);
    if (ret)
        http_answer(t->held, NULL, &err);
    free(t->key);
    free(t);
}

void form_end(http_request *r, const char *key, void (*resume)(http_request *r))
{
    http_form *f = r->form;
    const enum MHD_Result is_whole = f->parser ? MHD_destroy_post_processor(f->parser) : MHD_YES;
    f->parser = NULL;
    end_field(f);
    if (is_whole != MHD_YES)
        http_fail(r, MHD_HTTP_BAD_REQUEST, NULL, "the form ends too early");
    form_task *t = r->response ? NULL : calloc(1, sizeof *t);
    if (!t)
        return;
    *t = (form_task){.task.run = run_form, .held = r, .key = key ? strdup(key) : NULL};
    http_hold(r, resume);
    tasks_add(r->server->tasks, &t->task);
}

void form_remove_uploads(http_request *r)
{
    for (int i = 0; r->form && i < PARTS; i++) {
        form_part *p = &r->form->parts[i];
        if (p->is_upload)
            queue_upload_remove(r->server->queue, p->id, NULL);
    }
}

void form_free(http_form *f)
{
    if (!f)
        return;
    for (int i = 0; i < PARTS; i++) {
        const form_part *p = &f->parts[i];
        if (p->fd >= 0)
            close(p->fd);
        if (p->fd >= 0 && !p->is_upload)
            unlink(p->path);
        free(p->path);
    }
    if (f->parser)
        MHD_destroy_post_processor(f->parser);
    json_decref(f->job);
    free(f);
}
