#include "fuzz.h"

#include "server/http.h"

#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

enum { MAX_REQUEST = 200 << 10 };

#define HOST "Host: localhost\r\n"
#define BODY HOST "Connection: close\r\nContent-Length: @\r\n"

/* Requests that the bytes complete; @ is the length of the body that they are, or the ID of an
 * upload. */
static const struct frame {
    const char *head;
    bool has_body;
} frames[] = {
    {"", false}, // all of it
    {"GET /v1/uploads/@/content HTTP/1.1\r\n" HOST "Connection: close\r\nRange: ", false},
    {"PATCH /v1/uploads/@ HTTP/1.1\r\n" HOST
     "Connection: close\r\nContent-Type: application/octet-stream\r\nContent-Length: 3\r\n"
     "Upload-Offset: ",
     false},
    {"POST /v1/uploads HTTP/1.1\r\n" BODY "Content-Type: application/json\r\n\r\n", true},
    {"POST /v1/jobs HTTP/1.1\r\n" BODY "Content-Type: application/json\r\n\r\n", true},
    {"POST /v1/estimate HTTP/1.1\r\n" BODY "Content-Type: application/json\r\n\r\n", true},
    {"POST /predictions HTTP/1.1\r\n" BODY "Content-Type: application/json\r\n\r\n", true},
    {"POST /v1/session HTTP/1.1\r\n" BODY "Content-Type: application/json\r\n\r\n", true},
    {"POST /v1/jobs HTTP/1.1\r\n" BODY "Content-Type: multipart/form-data; boundary=bb\r\n\r\n",
     true},
    {"POST /v1/jobs HTTP/1.1\r\n" HOST "Connection: close\r\nContent-Length: 0\r\nContent-Type: ",
     false},
    {"GET /v1/jobs HTTP/1.1\r\nConnection: close\r\nHost: ", false},
    {"DELETE /v1/session HTTP/1.1\r\n" HOST "Connection: close\r\nOrigin: ", false},
    {"GET /v1/uploads/@/content HTTP/1.1\r\n" HOST "Connection: close\r\nIf-None-Match: ", false},
    {"GET /v1/jobs?", false},
    {"GET /", false},
};

static struct {
    char folder[64], upload[QUEUE_ID_SIZE];
    struct sockaddr_un address;
} server;

static void start(void)
{
    static server_settings s;
    static char listen[128], data[96];
    ls_error err;
    http_server *h;
    queue *q;
    snprintf(server.folder, sizeof server.folder, "/tmp/ls-fuzz-server-XXXXXX");
    if (!mkdtemp(server.folder))
        abort();
    snprintf(data, sizeof data, "%s/data", server.folder);
    snprintf(listen, sizeof listen, "unix:%s/socket", server.folder);
    server.address.sun_family = AF_UNIX;
    strcpy(server.address.sun_path, listen + strlen("unix:"));
    s = (server_settings){.listen = listen,
                          .data = data,
                          .program = "/bin/false",
                          .prefix = "",
                          .executor = "local",
                          .webhook_hosts = "hooks.example",
                          .max_queue = 4,
                          .max_upload = 1 << 20,
                          .max_pixels = 1 << 20,
                          .max_seconds = 60};
    if (http_open(&h, &s, &err) || queue_open(&q, &s, &err) || http_start(h, q, &err)) {
        fprintf(stderr, "%s\n", err.message);
        abort();
    }
    queue_new_id(server.upload);
    char path[256];
    queue_upload_path(q, server.upload, path, sizeof path);
    FILE *f = fopen(path, "wb");
    if (!f || fputs("0123456789", f) < 0 || fclose(f) ||
        queue_upload_add(q, server.upload, "a file", 10, NULL, &err) ||
        queue_upload_received(q, server.upload, 10, true, &err))
        abort();
}

/* `data`, with the ID of the upload in place of each byte 1. */
static size_t put(char *out, const uint8_t *data, size_t size)
{
    size_t n = 0;
    for (size_t i = 0; i < size && n + QUEUE_ID_SIZE < MAX_REQUEST / 2; i++)
        if (data[i] == 1) {
            memcpy(out + n, server.upload, QUEUE_ID_SIZE - 1);
            n += QUEUE_ID_SIZE - 1;
        } else {
            out[n++] = (char)data[i];
        }
    return n;
}

static size_t make(char *out, const struct frame *f, const uint8_t *data, size_t size)
{
    static char text[MAX_REQUEST / 2];
    const size_t n = put(text, data, size);
    char length[24];
    size_t head = 0;
    snprintf(length, sizeof length, "%zu", n);
    for (const char *p = f->head; *p; p++)
        if (*p == '@') {
            const char *value = f->has_body ? length : server.upload;
            memcpy(out + head, value, strlen(value));
            head += strlen(value);
        } else {
            out[head++] = *p;
        }
    memcpy(out + head, text, n);
    if (!f->has_body && *f->head)
        return head + n +
               (size_t)sprintf(out + head + n, "%s\r\n\r\nabc",
                               strstr(f->head, "HTTP/1.1") ? "" : " HTTP/1.1\r\n" HOST);
    return head + n;
}

/* Sends the bytes, which begin with the number of a frame, and reads to the end. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static char request[MAX_REQUEST + 64], answer[1 << 16];
    if (!*server.folder)
        start();
    if (!size)
        return 0;
    const struct frame *f = &frames[data[0] % (sizeof frames / sizeof *frames)];
    const size_t n = make(request, f, data + 1, size - 1);
    const int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    const struct timeval patience = {.tv_sec = 5};
    if (fd < 0 || connect(fd, (struct sockaddr *)&server.address, sizeof server.address))
        abort();
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    if (send(fd, request, n, MSG_NOSIGNAL) > 0) {
        shutdown(fd, SHUT_WR);
        while (recv(fd, answer, sizeof answer, 0) > 0)
            ;
    }
    close(fd);
    return 0;
}
