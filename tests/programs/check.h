// SPDX-License-Identifier: MIT OR Apache-2.0
//
// What all test programs share. A program says `PASS name` and exits with 0, or says on standard error what was not as it should
// be and exits with 1. Its output is the same in every run: no addresses, no times.
#pragma once

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

// Ends the program without running exit handlers, which a failure may have left unable to finish.
[[noreturn]] inline void fail(const char *file, int line, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    fflush(stdout);
    fprintf(stderr, "FAIL %s: %s:%d: ", program_invocation_short_name, file, line);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
    _exit(1);
}

#define FAIL(...) fail(__FILE__, __LINE__, __VA_ARGS__)

#define REQUIRE(condition)                                   \
    do {                                                     \
        if (!(condition)) FAIL("%s does not hold", #condition); \
    } while (0)

// For integers.
#define REQUIRE_EQUAL(actual, expected)                                                       \
    do {                                                                                      \
        long long actual_ = (long long)(actual), expected_ = (long long)(expected);           \
        if (actual_ != expected_) FAIL("%s is %lld, not %lld", #actual, actual_, expected_);  \
    } while (0)

// For integers, inside a loop over elements.
#define REQUIRE_ELEMENT(actual, expected, index)                                                            \
    do {                                                                                                    \
        long long actual_ = (long long)(actual), expected_ = (long long)(expected);                         \
        if (actual_ != expected_)                                                                           \
            FAIL("%s is %lld, not %lld, at %lld", #actual, actual_, expected_, (long long)(index));         \
    } while (0)

inline int pass() {
    printf("PASS %s\n", program_invocation_short_name);
    fflush(stdout);
    return 0;
}

// The number given as argument `index` of the command line, or `otherwise`.
inline long argument(int argc, char **argv, int index, long otherwise) {
    if (index >= argc) return otherwise;
    char *end;
    long value = strtol(argv[index], &end, 10);
    if (*end != '\0' || value <= 0) FAIL("'%s' is not a positive number", argv[index]);
    return value;
}
