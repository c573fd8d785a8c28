// SPDX-License-Identifier: GPL-2.0
/*
 * Lets the first allocation (or copy from or to the user) of each system call fail, then the
 * second, and so on until none is left to fail (/proc/thread-self/fail-nth; needs
 * CONFIG_FAULT_INJECTION). Whatever fails must leave the session as it was.
 */
#include <fcntl.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "harness.h"

#define LEN	(40 * PAGE)
#define MOST	500

static struct client client;
static uint8_t *room;
static uint64_t offset;

static int fail_nth_fd(void)
{
	static int fd = -1;

	if (fd < 0)
		fd = open("/proc/thread-self/fail-nth", O_RDWR);
	CHECK(fd >= 0);
	return fd;
}

static void arm(int nth)
{
	char text[16];
	int len = snprintf(text, sizeof(text), "%d", nth);

	CHECK(pwrite(fail_nth_fd(), text, len, 0) == len);
}

/* Return: whether there was a fault. */
static bool disarm(void)
{
	char text[16] = { 0 };
	int saved = errno;
	/* A fault that is still to come comes here: copying the text is one of those that fail. */
	bool fault = pread(fail_nth_fd(), text, sizeof(text) - 1, 0) > 0 && !atoi(text);

	while (pwrite(fail_nth_fd(), "0", 1, 0) != 1)
		CHECK(errno == EFAULT);
	errno = saved;
	return fault;
}

static void set(const char *path, const char *value)
{
	int fd = open(path, O_WRONLY);

	CHECK(fd >= 0);
	CHECK(write(fd, value, strlen(value)) == (ssize_t)strlen(value));
	close(fd);
}

/* Each has a call, and what undoes it when it succeeded. */

static int call_open(void)
{
	return open(DEVICE, O_RDWR);
}

static void undo_open(int fd)
{
	close(fd);
}

static int closing;

static void prepare_close(void)
{
	closing = open(DEVICE, O_RDWR);
	CHECK(closing >= 0);
}

static int call_close(void)
{
	return close(closing);
}

static int call_info(void)
{
	return ioctl(client.fd, VCUDA_IOC_INFO, &client.info);
}

static int call_start(void)
{
	static char greeting[300], answer[400];
	struct vcuda_start start = {
		.greeting = (uintptr_t)greeting, .greeting_len = sizeof(greeting),
		.answer = (uintptr_t)answer, .answer_len = sizeof(answer),
	};

	return ioctl(client.fd, VCUDA_IOC_START, &start);
}

static int call_create(void)
{
	uint64_t unused;

	return memory_create(client.fd, 50, VCUDA_MEMORY_WINDOW, 0, LEN, &unused);
}

static void undo_create(int ret)
{
	(void)ret;
	CHECK(!memory_destroy(client.fd, 50));
}

static void *mapping;

static void prepare_mmap(void)
{
	uint64_t fresh;

	if (!memory_create(client.fd, 63, VCUDA_MEMORY_WINDOW, 0, LEN, &fresh))
		offset = fresh;
	else
		CHECK(errno == EEXIST);
}

static int call_mmap(void)
{
	mapping = mmap(NULL, LEN, PROT_READ | PROT_WRITE, MAP_SHARED, client.fd, offset);
	return mapping == MAP_FAILED ? -1 : 0;
}

static void undo_mmap(int ret)
{
	(void)ret;
	CHECK(!munmap(mapping, LEN));
	CHECK(!memory_destroy(client.fd, 63));
}

static int call_register(void)
{
	return memory_register(client.fd, 50, room, LEN);
}

static int call_submit_to(void)
{
	return transfer_submit(client.fd, 60, room + 100, LEN - 300, VCUDA_TO_DEVICE);
}

static int call_submit_from(void)
{
	return transfer_submit(client.fd, 60, room + 100, LEN - 300, VCUDA_FROM_DEVICE);
}

static void undo_submit(int ret)
{
	uint64_t result;

	(void)ret;
	CHECK(!command_run(&client, 0, TRANSFER, 60, 0, &result));
	CHECK(!transfer_wait(client.fd, 60));
}

static void prepare_wait(void)
{
	uint64_t result;

	if (transfer_submit(client.fd, 61, room, LEN, VCUDA_FROM_DEVICE)) {
		CHECK(errno == EEXIST);
		return;
	}
	CHECK(!command_run(&client, 0, TRANSFER, 61, 0, &result));
}

static int call_wait(void)
{
	return transfer_wait(client.fd, 61);
}

static void prepare_destroy(void)
{
	if (memory_register(client.fd, 62, room, LEN))
		CHECK(errno == EEXIST);
}

static int call_destroy(void)
{
	return memory_destroy(client.fd, 62);
}

static int call_kick(void)
{
	return ioctl(client.fd, VCUDA_IOC_KICK);
}

static int call_sleep(void)
{
	uint32_t word = *(volatile uint32_t *)client.control;

	return wait_word(client.fd, 0, word + 1, 1000000);
}

static int call_poll(void)
{
	struct epoll_event event = { .events = EPOLLIN };
	int epoll = epoll_create1(0), ret;

	if (epoll < 0)
		return -1;
	ret = epoll_ctl(epoll, EPOLL_CTL_ADD, client.fd, &event);
	close(epoll);
	return ret;
}

static void nothing(void)
{
}

static void no_undo(int ret)
{
	(void)ret;
}

int faults(int argc, char **argv)
{
	static const struct {
		const char *name;
		void (*prepare)(void);
		int (*call)(void);
		void (*undo)(int ret);
	} calls[] = {
		{ "open", nothing, call_open, undo_open },
		{ "close", prepare_close, call_close, no_undo },
		{ "INFO", nothing, call_info, no_undo },
		{ "START", nothing, call_start, no_undo },
		{ "MEMORY_CREATE", nothing, call_create, undo_create },
		{ "mmap", prepare_mmap, call_mmap, undo_mmap },
		{ "MEMORY_REGISTER", nothing, call_register, undo_create },
		{ "MEMORY_DESTROY", prepare_destroy, call_destroy, no_undo },
		{ "TRANSFER_SUBMIT to", nothing, call_submit_to, undo_submit },
		{ "TRANSFER_SUBMIT from", nothing, call_submit_from, undo_submit },
		{ "TRANSFER_WAIT", prepare_wait, call_wait, no_undo },
		{ "KICK", nothing, call_kick, no_undo },
		{ "WAIT", nothing, call_sleep, no_undo },
		{ "poll", nothing, call_poll, no_undo },
	};
	uint64_t state = 5;
	int nth, ret;

	(void)argc;
	(void)argv;
	set("/sys/kernel/debug/failslab/ignore-gfp-wait", "N");
	set("/sys/kernel/debug/failslab/verbose", "0");
	set("/sys/kernel/debug/fail_page_alloc/ignore-gfp-wait", "N");
	set("/sys/kernel/debug/fail_page_alloc/min-order", "0");
	set("/sys/kernel/debug/fail_page_alloc/verbose", "0");
	set("/sys/kernel/debug/fail_usercopy/verbose", "0");
	CHECK(!client_open(&client));
	room = pages(LEN);
	for (size_t i = 0; i < LEN / PAGE * 3; i++)
		room[random_next(&state) % LEN] = 1;
	fail_nth_fd();

	for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
		int failures = 0;

		for (nth = 1; nth < MOST; nth++) {
			bool fault;

			calls[i].prepare();
			arm(nth);
			ret = calls[i].call();
			fault = disarm();
			if (ret >= 0)
				calls[i].undo(ret);
			else if (errno == ENOMEM || errno == EFAULT)
				failures++;
			else
				fail(__FILE__, __LINE__, "fault %d of %s gave %s", nth,
				     calls[i].name, strerror(errno));
			if (!fault)
				break;
		}
		printf("  %s: %d faults, %d failures\n", calls[i].name, nth - 1, failures);
		CHECK(nth < MOST);
	}
	CHECK(!command_run(&client, 0, NOP, 0, 0, NULL));
	client_close(&client);
	for (int i = 0; i < 6000; i++) {
		struct vcuda_statistics seen = statistics();

		if (!seen.sessions && !seen.pages_pinned)
			return 0;
		usleep(10000);
	}
	fail(__FILE__, __LINE__, "%llu sessions and %llu pinned pages are left",
	     (unsigned long long)statistics().sessions,
	     (unsigned long long)statistics().pages_pinned);
}
