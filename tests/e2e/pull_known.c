/* In place of what the library knows of the published files: what the file that LS_TEST_KNOWN names
 * lists of made-up ones, in lines "NAME SHA256 SIZE". */
#include "pull/known.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const ls_known_file *ls_known_file_find(const char *name)
{
    static struct {
        char name[64], sha256[65];
        ls_known_file file;
    } files[16];
    static size_t n;
    const char *path = getenv("LS_TEST_KNOWN");
    FILE *f = n ? NULL : fopen(path ? path : "/dev/null", "re");
    for (;
         f && n < 16 &&
         fscanf(f, "%63s %64s %" SCNu64, files[n].name, files[n].sha256, &files[n].file.size) == 3;
         n++) {
        files[n].file.name = files[n].name;
        files[n].file.sha256 = files[n].sha256;
    }
    if (f)
        fclose(f);
    for (size_t i = 0; i < n; i++)
        if (!strcmp(files[i].name, name))
            return &files[i].file;
    return NULL;
}
