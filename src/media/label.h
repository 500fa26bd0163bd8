/* A line of text that is drawn into frames: white on a dark ground, in the top left corner of what
 * every screen shows. */
#ifndef LS_MEDIA_LABEL_H
#define LS_MEDIA_LABEL_H

#include "media/frame.h"
#include "media/video.h"

/* Any thread draws. */
typedef struct ls_label ls_label;

/* For frames of `like`. Letters are 1/20 of the shorter side high, and 16 pixels at least, but
 * smaller where the text would not fit. LS_EINVAL if it cannot be drawn (glyphs.h), or would be too
 * small to read. */
int ls_label_open(ls_label **out, const char *text, const ls_video *like, ls_error *err);
/* The same frame gives the same pixels on every machine. */
int ls_label_draw(const ls_label *l, ls_frame *f, ls_error *err);
/* Sets *l to NULL; takes NULL. */
void ls_label_close(ls_label **l);

#endif
