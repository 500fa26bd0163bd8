#ifndef LS_BASE_TIME_H
#define LS_BASE_TIME_H

/* Seconds of a monotonic clock with an arbitrary start. */
double ls_time_now(void);
/* Seconds that the threads of this process have computed. */
double ls_time_cpu(void);

#endif
