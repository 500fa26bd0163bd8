/* The version of the program and the library, and that of the API, which changes on its own:
 * LS_API_MINOR when something is added, LS_API_MAJOR, the shared library's soname, when something
 * that existed changes or goes. While LS_API_MAJOR is 0, a minor version may break too. */
#ifndef LATENTSYNC_VERSION_H
#define LATENTSYNC_VERSION_H

#include "latentsync/common.h"

#ifdef __cplusplus
extern "C" {
#endif

#define LS_VERSION_MAJOR 0
#define LS_VERSION_MINOR 2
#define LS_VERSION_PATCH 0
#define LS_VERSION_STRING "0.2.0"

#define LS_API_MAJOR 0
#define LS_API_MINOR 5
#define LS_API_VERSION (LS_API_MAJOR << 16 | LS_API_MINOR)

/* Of the library that runs, as the macros are of the one that was compiled against. Static
 * storage; any thread. */
LS_API const char *ls_version(void);
LS_API unsigned ls_api_version(void);

#ifdef __cplusplus
}
#endif
#endif
