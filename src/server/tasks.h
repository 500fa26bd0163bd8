/* A thread for work on files that takes longer than a read or a write, one task after another. */
#ifndef LS_SERVER_TASKS_H
#define LS_SERVER_TASKS_H

#include "latentsync/error.h"

typedef struct tasks tasks;

/* The first member of what a task needs. */
typedef struct task {
    struct task *next;
    void (*run)(struct task *t); /* frees it */
} task;

int tasks_open(tasks **out, ls_error *err);
/* Any thread, until tasks_close is called. */
void tasks_add(tasks *t, task *added);
/* Runs what is left, ends the thread and sets *t to NULL. Takes NULL. */
void tasks_close(tasks **t);

#endif
