// SPDX-License-Identifier: GPL-2.0
/*
 * Many processes with many threads that do everything at once, under signals, and are killed in the
 * middle of it. With `hostile`, the device may do anything: then only the end matters.
 */
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "harness.h"

#define MAX_LEN		(192UL << 10)
#define MAX_PROCESSES	64

static bool hostile;

struct worker {
	struct client *client;
	unsigned int slot;
	uint64_t state;
};

/* Against a hostile device, an error ends the step; otherwise it is the driver's fault. */
#define STEP(call)								\
	do {									\
		if (call) {							\
			if (hostile)						\
				return;						\
			fail(__FILE__, __LINE__, "%s: %s", #call,		\
			     strerror(errno));					\
		}								\
	} while (0)
#define EXPECT(condition)							\
	do {									\
		if (!hostile)							\
			CHECK(condition);					\
	} while (0)

static uint64_t below(struct worker *worker, uint64_t limit)
{
	return random_next(&worker->state) % limit;
}

static uint64_t fresh_id(struct worker *worker)
{
	return 1000 + worker->slot * 1000000 + below(worker, 1000000);
}

static void transfer(struct worker *worker, bool unmap)
{
	uint64_t len = 1 + below(worker, MAX_LEN - 2 * PAGE), result, id = fresh_id(worker), seed = below(worker, 256);
	uint8_t *room = pages(MAX_LEN), *at = room + below(worker, PAGE);
	bool to_device = below(worker, 2);
	uint64_t expected = 0;

	if (to_device) {
		for (uint64_t i = 0; i < len; i += 1 + below(worker, 200))
			at[i] = i + seed;
		expected = sum(at, len);
	}
	STEP(transfer_submit(worker->client->fd, id, at, len,
			     to_device ? VCUDA_TO_DEVICE : VCUDA_FROM_DEVICE));
	if (unmap)
		munmap(room, MAX_LEN);
	STEP(command_run(worker->client, worker->slot, TRANSFER, id, seed, &result));
	STEP(transfer_wait(worker->client->fd, id));
	if (to_device)
		EXPECT(result == expected);
	for (uint64_t i = 0; !to_device && !unmap && i < len; i += 61)
		EXPECT(at[i] == pattern(i, seed));
	if (!unmap)
		munmap(room, MAX_LEN);
}

static void created(struct worker *worker)
{
	uint64_t id = fresh_id(worker), len = (1 + below(worker, 64)) * PAGE, offset, result;
	uint64_t seed = below(worker, 256);
	int fd = worker->client->fd;
	uint8_t *at;

	STEP(memory_create(fd, id, VCUDA_MEMORY_WINDOW, id * PAGE, len, &offset));
	at = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, offset);
	CHECK(at != MAP_FAILED);
	if (below(worker, 4)) {
		STEP(command_run(worker->client, worker->slot, MEMORY_FILL, id, seed, &result));
		for (uint64_t i = 0; i < len; i += 61)
			EXPECT(at[i] == pattern(i, seed));
	}
	if (below(worker, 2)) {
		munmap(at, len);
		STEP(memory_destroy(fd, id));
	} else {
		STEP(memory_destroy(fd, id));
		at[0]++;
		munmap(at, len);
	}
}

static void registered(struct worker *worker)
{
	uint64_t id = fresh_id(worker), len = (1 + below(worker, 40)) * PAGE, result;
	uint8_t *at = pages(MAX_LEN);

	STEP(memory_register(worker->client->fd, id, at, len));
	STEP(command_run(worker->client, worker->slot, MEMORY_FILL, id, 9, &result));
	for (uint64_t i = 0; i < len; i += 61)
		EXPECT(at[i] == pattern(i, 9));
	STEP(memory_destroy(worker->client->fd, id));
	munmap(at, MAX_LEN);
}

static void another_session(struct worker *worker)
{
	struct client other;
	uint8_t *at = pages(MAX_LEN);

	STEP(client_open(&other));
	if (below(worker, 2))
		STEP(transfer_submit(other.fd, 1, at, MAX_LEN, VCUDA_FROM_DEVICE));
	if (below(worker, 2))
		STEP(command_run(&other, 0, END, 0, 0, NULL));
	client_close(&other);
	munmap(at, MAX_LEN);
}

static void forked(void)
{
	pid_t child = fork();

	if (!child)
		_exit(0);
	if (child > 0)
		while (waitpid(child, NULL, 0) < 0 && errno == EINTR)
			;
}

static void step(struct worker *worker)
{
	switch (below(worker, 10)) {
	case 0:
		forked();
		break;
	case 1:
		another_session(worker);
		break;
	case 2:
		created(worker);
		break;
	case 3:
		registered(worker);
		break;
	case 4:
		transfer(worker, true);
		break;
	case 5:
		wait_word(worker->client->fd, 4 * worker->slot,
			  *(volatile uint32_t *)(worker->client->control + 4 * worker->slot),
			  below(worker, 2000000));
		break;
	default:
		transfer(worker, false);
	}
}

static void *work(void *argument)
{
	struct worker *worker = argument;

	for (;;)
		step(worker);
	return NULL;
}

static void on_signal(int number)
{
	(void)number;
}

static void process(uint64_t seed, unsigned int threads)
{
	struct sigaction action = { .sa_handler = on_signal, .sa_flags = SA_RESTART };
	struct itimerval timer = { { 0, 7000 }, { 0, 7000 } };
	struct worker workers[SLOTS];
	struct client client;
	pthread_t thread;

	if (client_open(&client)) {
		if (!hostile)
			fail(__FILE__, __LINE__, "opening: %s", strerror(errno));
		usleep(20000);
		_exit(0);
	}
	sigaction(SIGALRM, &action, NULL);
	setitimer(ITIMER_REAL, &timer, NULL);
	for (unsigned int i = 0; i < threads; i++) {
		workers[i] = (struct worker){ &client, i, (seed * 977 + i) * 0x9e3779b97f4a7c15 | 1 };
		CHECK(!pthread_create(&thread, NULL, work, &workers[i]));
	}
	for (;;) {
		struct pollfd pollfd = { .fd = client.fd };

		/* Lets a hostile device's end of the session be seen. */
		if (poll(&pollfd, 1, 50) == 1)
			_exit(hostile ? 0 : 1);
	}
}

static pid_t start(uint64_t seed, unsigned int threads)
{
	pid_t child = fork();

	CHECK(child >= 0);
	if (!child)
		process(seed, threads);
	return child;
}

/* stress SECONDS PROCESSES THREADS SEED [hostile] */
int stress(int argc, char **argv)
{
	double end = now() + (argc > 1 ? atof(argv[1]) : 5);
	unsigned int processes = argc > 2 ? atoi(argv[2]) : 6;
	unsigned int threads = argc > 3 ? atoi(argv[3]) : 4;
	uint64_t state = argc > 4 ? strtoull(argv[4], NULL, 0) * 2 + 1 : 1;
	pid_t children[MAX_PROCESSES];
	unsigned int kills = 0;
	int status, failed = 0;

	hostile = argc > 5;
	CHECK(processes <= MAX_PROCESSES && threads <= SLOTS);
	for (unsigned int i = 0; i < processes; i++)
		children[i] = start(random_next(&state), threads);
	while (now() < end && !failed) {
		unsigned int victim = random_next(&state) % processes;

		usleep(2000 + random_next(&state) % 60000);
		kill(children[victim], SIGKILL);
		CHECK(waitpid(children[victim], &status, 0) == children[victim]);
		failed += !WIFSIGNALED(status) && status;
		kills++;
		children[victim] = start(random_next(&state), threads);
	}
	for (unsigned int i = 0; i < processes; i++)
		kill(children[i], SIGKILL);
	while (wait(&status) > 0)
		failed += !WIFSIGNALED(status) && status;
	printf("stress: %u processes killed, %d failed\n", kills, failed);
	if (hostile)
		return 0;
	for (int i = 0; i < 6000; i++) {
		struct vcuda_statistics seen = statistics();

		if (!seen.sessions && !seen.pages_pinned)
			return !!failed;
		usleep(10000);
	}
	fail(__FILE__, __LINE__, "%llu sessions and %llu pinned pages are left",
	     (unsigned long long)statistics().sessions,
	     (unsigned long long)statistics().pages_pinned);
}
