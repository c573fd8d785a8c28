// SPDX-License-Identifier: GPL-2.0
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "harness.h"

void fail(const char *file, int line, const char *format, ...)
{
	va_list list;

	fprintf(stderr, "FAILED %s:%d: ", file, line);
	va_start(list, format);
	vfprintf(stderr, format, list);
	va_end(list);
	fputc('\n', stderr);
	_exit(1);
}

int memory_create(int fd, uint64_t id, uint32_t kind, uint64_t address, uint64_t len,
		  uint64_t *map_offset)
{
	struct vcuda_memory memory = { .id = id, .kind = kind, .address = address, .len = len };
	int ret = ioctl(fd, VCUDA_IOC_MEMORY_CREATE, &memory);

	*map_offset = memory.map_offset;
	return ret;
}

int memory_register(int fd, uint64_t id, void *address, uint64_t len)
{
	struct vcuda_register args = { .id = id, .address = (uintptr_t)address, .len = len };

	return ioctl(fd, VCUDA_IOC_MEMORY_REGISTER, &args);
}

int memory_destroy(int fd, uint64_t id)
{
	return ioctl(fd, VCUDA_IOC_MEMORY_DESTROY, &id);
}

int transfer_submit(int fd, uint64_t id, void *address, uint64_t len, uint32_t direction)
{
	struct vcuda_transfer args = {
		.id = id, .address = (uintptr_t)address, .len = len, .direction = direction,
	};

	return ioctl(fd, VCUDA_IOC_TRANSFER_SUBMIT, &args);
}

int transfer_wait(int fd, uint64_t id)
{
	return ioctl(fd, VCUDA_IOC_TRANSFER_WAIT, &id);
}

int wait_word(int fd, uint32_t offset, uint32_t expected, uint64_t timeout_ns)
{
	struct vcuda_wait wait = {
		.offset = offset, .expected = expected, .timeout_ns = timeout_ns,
	};

	return ioctl(fd, VCUDA_IOC_WAIT, &wait);
}

void client_close(struct client *client)
{
	if (client->control)
		munmap(client->control, CONTROL_LEN);
	close(client->fd);
}

int client_open(struct client *client)
{
	char greeting[] = "a client of the test device", answer[64] = { 0 };
	struct vcuda_start start = {
		.greeting = (uintptr_t)greeting, .greeting_len = sizeof(greeting),
		.answer = (uintptr_t)answer, .answer_len = sizeof(answer),
	};
	uint64_t offset;
	int saved;

	client->control = NULL;
	client->fd = open(DEVICE, O_RDWR | O_CLOEXEC);
	if (client->fd < 0)
		return -1;
	if (ioctl(client->fd, VCUDA_IOC_INFO, &client->info) ||
	    memory_create(client->fd, CONTROL_ID, VCUDA_MEMORY_CONTROL, 0, CONTROL_LEN, &offset))
		goto err;
	client->control = mmap(NULL, CONTROL_LEN, PROT_READ | PROT_WRITE, MAP_SHARED, client->fd,
			       offset);
	if (client->control == MAP_FAILED) {
		client->control = NULL;
		goto err;
	}
	if (ioctl(client->fd, VCUDA_IOC_START, &start))
		goto err;
	/* The test device answers with the greeting, backwards. */
	errno = EPROTO;
	if (start.answer_len != sizeof(greeting) || answer[1] != 'e' ||
	    answer[sizeof(greeting) - 1] != 'a')
		goto err;
	return 0;

err:
	saved = errno;
	client_close(client);
	errno = saved;
	return -1;
}

static volatile uint32_t *word_at(struct client *client, size_t offset)
{
	return (volatile uint32_t *)(client->control + offset);
}

static volatile uint64_t *long_at(struct client *client, size_t offset)
{
	return (volatile uint64_t *)(client->control + offset);
}

int command_post(struct client *client, unsigned int slot, enum command command, uint64_t id,
		 uint64_t argument, uint32_t *before)
{
	size_t base = 256 + 64 * slot;

	*before = *word_at(client, 4 * slot);
	*long_at(client, base + 8) = id;
	*long_at(client, base + 16) = argument;
	__sync_synchronize();
	*word_at(client, base) = command;
	return ioctl(client->fd, VCUDA_IOC_KICK);
}

int command_wait(struct client *client, unsigned int slot, uint32_t before, uint64_t *result)
{
	double end = now() + 20;

	while (*word_at(client, 4 * slot) == before) {
		if (now() > end) {
			errno = ETIMEDOUT;
			return -1;
		}
		if (wait_word(client->fd, 4 * slot, before, 1000000000) && errno != EINTR &&
		    errno != ETIMEDOUT)
			return -1;
	}
	__sync_synchronize();
	if (result)
		*result = *long_at(client, 256 + 64 * slot + 24);
	return 0;
}

int command_run(struct client *client, unsigned int slot, enum command command, uint64_t id,
		uint64_t argument, uint64_t *result)
{
	uint32_t before;

	if (command_post(client, slot, command, id, argument, &before))
		return -1;
	return command_wait(client, slot, before, result);
}

struct vcuda_statistics statistics(void)
{
	struct vcuda_statistics result = { 0 };
	int fd = open(DEVICE, O_RDWR);

	CHECK(fd >= 0);
	CHECK(!ioctl(fd, VCUDA_IOC_STATISTICS, &result));
	close(fd);
	result.sessions--; /* the one just closed */
	return result;
}

uint64_t sum(const uint8_t *bytes, size_t len)
{
	uint64_t sum = 0xcbf29ce484222325;

	for (size_t i = 0; i < len; i++)
		sum = (sum ^ bytes[i]) * 0x100000001b3;
	return sum;
}

uint8_t pattern(uint64_t i, uint64_t seed)
{
	return i * 7 ^ i >> 12 ^ seed;
}

void *pages(size_t len)
{
	void *at = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	CHECK(at != MAP_FAILED);
	return at;
}

uint64_t random_next(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

double now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec + time.tv_nsec * 1e-9;
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		int (*run)(int argc, char **argv);
	} tests[] = {
		{ "functional", functional }, { "stress", stress }, { "faults", faults },
		{ "fuzz", fuzz }, { "detach", detach },
	};

	setvbuf(stdout, NULL, _IOLBF, 0);
	for (size_t i = 0; argc > 1 && i < sizeof(tests) / sizeof(tests[0]); i++)
		if (!strcmp(argv[1], tests[i].name))
			return tests[i].run(argc - 1, argv + 1);
	fprintf(stderr, "usage: vcuda-driver-test functional|stress|faults|fuzz|detach [ARGUMENT...]\n");
	return 2;
}
