/* bench_gpu [--device DEVICE] [--quick] [--sizes published|small]: as "latentsync bench gpu", in a
 * program that needs neither FFmpeg nor oneDNN. */
#include "latentsync/bench.h"

#include <getopt.h>
#include <stdio.h>
#include <string.h>

static void print_line(void *opaque, const char *line)
{
    (void)opaque;
    puts(line);
    fflush(stdout);
}

int main(int argc, char **argv)
{
    static const struct option options[] = {{"device", required_argument, NULL, 'd'},
                                            {"quick", no_argument, NULL, 'q'},
                                            {"sizes", required_argument, NULL, 's'},
                                            {"help", no_argument, NULL, 'h'},
                                            {0}};
    ls_bench_settings s;
    ls_error err;
    size_t failed;
    ls_bench_default_settings(&s, sizeof s);
    s.line = print_line;
    for (int c; (c = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        if (c == 'd') {
            s.device = optarg;
        } else if (c == 'q') {
            s.quick = 1;
        } else if (c == 's') {
            s.small = !strcmp(optarg, "small");
        } else {
            fputs("usage: bench_gpu [--device DEVICE] [--quick] [--sizes published|small]\n",
                  c == 'h' ? stdout : stderr);
            return c == 'h' ? 0 : 2;
        }
    }
    if (ls_bench_gpu(&s, &failed, &err)) {
        fprintf(stderr, "bench_gpu: %s\n", err.message);
        return 3;
    }
    return failed ? 1 : 0;
}
