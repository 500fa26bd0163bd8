#include "latentsync/version.h"

const char *ls_version(void)
{
    return LS_VERSION_STRING;
}

unsigned ls_api_version(void)
{
    return LS_API_VERSION;
}
