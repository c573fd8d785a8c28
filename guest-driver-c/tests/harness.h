/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the tests of the driver share: checks, and a client of the test device (tests/device), which
 * executes the commands below when it is kicked.
 */
#ifndef HARNESS_H
#define HARNESS_H

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <linux/vcuda.h>

#define DEVICE		"/dev/vcuda"
#define PAGE		4096UL
#define CONTROL_ID	1
#define CONTROL_LEN	(4 * PAGE)
#define SLOTS		32

/* The same as in tests/device/src/session.rs. */
enum command {
	NOP = 1,
	TRANSFER = 2,
	MEMORY_SUM = 3,
	MEMORY_FILL = 4,
	END = 5,
	SILENT = 6,
	MUTE = 7,
	HOLDINGS = 8,
	EVENTS = 9,
};

struct client {
	int fd;
	uint8_t *control;
	struct vcuda_info info;
};

/* Ends the process with a message. */
void fail(const char *file, int line, const char *format, ...)
	__attribute__((noreturn, format(printf, 3, 4)));

#define CHECK(condition)							\
	do {									\
		if (!(condition))						\
			fail(__FILE__, __LINE__, "%s (errno: %s)", #condition,	\
			     strerror(errno));					\
	} while (0)

#define REFUSED(error, call)							\
	do {									\
		errno = 0;							\
		long got_ = (call);						\
		if (got_ != -1 || errno != (error))				\
			fail(__FILE__, __LINE__, "%s: %ld, %s instead of %s",	\
			     #call, got_, strerror(errno), strerror(error));	\
	} while (0)

/* All return 0, or -1 with errno. */
int client_open(struct client *client);
void client_close(struct client *client);
int memory_create(int fd, uint64_t id, uint32_t kind, uint64_t address, uint64_t len,
		  uint64_t *map_offset);
int memory_register(int fd, uint64_t id, void *address, uint64_t len);
int memory_destroy(int fd, uint64_t id);
int transfer_submit(int fd, uint64_t id, void *address, uint64_t len, uint32_t direction);
int transfer_wait(int fd, uint64_t id);
int wait_word(int fd, uint32_t offset, uint32_t expected, uint64_t timeout_ns);

/* Puts a command into a slot and kicks; gives the count to wait for. */
int command_post(struct client *client, unsigned int slot, enum command command, uint64_t id,
		 uint64_t argument, uint32_t *before);
int command_wait(struct client *client, unsigned int slot, uint32_t before, uint64_t *result);
int command_run(struct client *client, unsigned int slot, enum command command, uint64_t id,
		uint64_t argument, uint64_t *result);

struct vcuda_statistics statistics(void);
uint64_t sum(const uint8_t *bytes, size_t len);
uint8_t pattern(uint64_t i, uint64_t seed);
void *pages(size_t len);
uint64_t random_next(uint64_t *state);
double now(void);

int functional(int argc, char **argv);
int stress(int argc, char **argv);
int faults(int argc, char **argv);
int fuzz(int argc, char **argv);
int detach(int argc, char **argv);

#endif
