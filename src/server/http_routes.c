/* Every path in one row; openapi.json describes them. */
#include "server/api.h"

const http_route http_routes[] = {
    {"GET", "/health", HTTP_OPEN, NULL, api_health},
    {"POST", "/v1/uploads", HTTP_JSON, NULL, api_upload_add},
    {"GET", "/v1/uploads/{id}", 0, NULL, api_upload_get},
    {"PATCH", "/v1/uploads/{id}", HTTP_BYTES, api_upload_begin, api_upload_end},
    {"DELETE", "/v1/uploads/{id}", 0, NULL, api_upload_remove},
    {"POST", "/v1/jobs", HTTP_JSON, NULL, api_job_add},
    {"GET", "/v1/jobs", 0, NULL, api_job_list},
    {"GET", "/v1/jobs/{id}", 0, NULL, api_job_get},
    {"DELETE", "/v1/jobs/{id}", 0, NULL, api_job_remove},
    {"POST", "/v1/jobs/{id}/cancel", 0, NULL, api_job_cancel},
    {"POST", "/v1/jobs/{id}/resume", 0, NULL, api_job_resume},
    {"GET", "/", HTTP_OPEN, NULL, api_index},
    {"GET", "/{name}", HTTP_OPEN, NULL, api_page},
    {0},
};
