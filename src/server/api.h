/* The handlers of the routes. */
#ifndef LS_SERVER_API_H
#define LS_SERVER_API_H

#include "server/http.h"

void api_health(http_request *r);
void api_index(http_request *r);
void api_page(http_request *r);
void api_description(http_request *r);
void api_ready(http_request *r);
void api_metrics(http_request *r);
void api_capabilities(http_request *r);
void api_session_open(http_request *r);
void api_session_close(http_request *r);

void api_upload_add(http_request *r);
void api_upload_get(http_request *r);
void api_upload_begin(http_request *r);
void api_upload_end(http_request *r);
void api_upload_remove(http_request *r);
void api_upload_content(http_request *r);
void api_upload_probe(http_request *r);
void api_upload_faces(http_request *r);
void api_upload_face(http_request *r);
void api_estimate(http_request *r);

void api_job_begin(http_request *r);
void api_job_add(http_request *r);
void api_job_list(http_request *r);
void api_job_get(http_request *r);
void api_job_cancel(http_request *r);
void api_job_resume(http_request *r);
void api_job_remove(http_request *r);
void api_job_events(http_request *r);
void api_job_output(http_request *r);
void api_job_preview(http_request *r);
void api_job_playlist(http_request *r);
void api_job_segment(http_request *r);
/* The answer of queue_job_add to a held request. */
void api_job_added(http_request *r);
/* As cog has them; cancel and get take the job's ID. */
void predict_add(http_request *r);
void predict_put(http_request *r);
void predict_get(http_request *r);
void predict_cancel(http_request *r);
void predict_health(http_request *r);
/* The Idempotency-Key, or NULL. False after an answer. */
bool api_read_key(http_request *r, const char **key);

#endif
