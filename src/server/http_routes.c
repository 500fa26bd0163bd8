/* Every path in one row; openapi.json describes them. */
#include "server/api.h"

const http_route http_routes[] = {
    {"GET", "/health", HTTP_OPEN, NULL, api_health},
    {"POST", "/v1/uploads", HTTP_JSON, NULL, api_upload_add},
    {"GET", "/v1/uploads/{id}", 0, NULL, api_upload_get},
    {"PATCH", "/v1/uploads/{id}", HTTP_BYTES, api_upload_begin, api_upload_end},
    {"DELETE", "/v1/uploads/{id}", 0, NULL, api_upload_remove},
    {"GET", "/v1/uploads/{id}/content", 0, NULL, api_upload_content},
    {"GET", "/v1/uploads/{id}/probe", 0, NULL, api_upload_probe},
    {"GET", "/v1/uploads/{id}/faces", 0, NULL, api_upload_faces},
    {"GET", "/v1/uploads/{id}/faces/{name}", 0, NULL, api_upload_face},
    {"POST", "/v1/estimate", HTTP_JSON, NULL, api_estimate},
    {"POST", "/v1/jobs", HTTP_JSON, NULL, api_job_add},
    {"GET", "/v1/jobs", 0, NULL, api_job_list},
    {"GET", "/v1/jobs/{id}", 0, NULL, api_job_get},
    {"DELETE", "/v1/jobs/{id}", 0, NULL, api_job_remove},
    {"GET", "/v1/jobs/{id}/events", 0, NULL, api_job_events},
    {"GET", "/v1/jobs/{id}/output", 0, NULL, api_job_output},
    {"GET", "/v1/jobs/{id}/preview.jpg", 0, NULL, api_job_preview},
    {"GET", "/v1/jobs/{id}/stream.m3u8", 0, NULL, api_job_playlist},
    {"GET", "/v1/jobs/{id}/stream/{name}", 0, NULL, api_job_segment},
    {"POST", "/v1/jobs/{id}/cancel", 0, NULL, api_job_cancel},
    {"POST", "/v1/jobs/{id}/resume", 0, NULL, api_job_resume},
    {"GET", "/", HTTP_OPEN, NULL, api_index},
    {"GET", "/{name}", HTTP_OPEN, NULL, api_page},
    {0},
};
