// SPDX-License-Identifier: GPL-2.0
/* Each ioctl, what it does and what it refuses. */
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "harness.h"

static struct client must_open(void)
{
	struct client client;

	CHECK(!client_open(&client));
	return client;
}

/* Closing is asynchronous: what a session had goes when the device has answered. */
static void must_settle(void)
{
	struct vcuda_statistics seen;

	for (int i = 0; i < 6000; i++) {
		seen = statistics();
		if (!seen.sessions && !seen.pages_pinned)
			return;
		usleep(10000);
	}
	fail(__FILE__, __LINE__, "%llu sessions and %llu pinned pages are left",
	     (unsigned long long)seen.sessions, (unsigned long long)seen.pages_pinned);
}

static void info_names_version_and_limits(void)
{
	struct client client = must_open();

	CHECK(client.info.version == VCUDA_UAPI_VERSION);
	CHECK(client.info.max_memory >= 16 << 20);
	CHECK(client.info.max_transfer >= 64 << 10);
	for (int i = 0; i < 5; i++)
		CHECK(!client.info.reserved[i]);
	client_close(&client);
}

static void bad_pointers_are_refused(void)
{
	struct client client = must_open();
	void *nowhere = (void *)16, *kernel = (void *)0xffff800000000000;
	unsigned long requests[] = {
		VCUDA_IOC_INFO, VCUDA_IOC_START, VCUDA_IOC_MEMORY_CREATE,
		VCUDA_IOC_MEMORY_REGISTER, VCUDA_IOC_MEMORY_DESTROY, VCUDA_IOC_TRANSFER_SUBMIT,
		VCUDA_IOC_TRANSFER_WAIT, VCUDA_IOC_WAIT, VCUDA_IOC_STATISTICS,
	};

	for (size_t i = 0; i < sizeof(requests) / sizeof(requests[0]); i++) {
		REFUSED(EFAULT, ioctl(client.fd, requests[i], nowhere));
		REFUSED(EFAULT, ioctl(client.fd, requests[i], kernel));
	}
	client_close(&client);
}

static void unknown_ioctls_are_refused(void)
{
	struct client client = must_open();
	uint64_t space[16] = { 0 };

	REFUSED(ENOTTY, ioctl(client.fd, _IO('V', 0x63), space));
	REFUSED(ENOTTY, ioctl(client.fd, _IO('W', 0x07), space));
	/* The right number with another size. */
	REFUSED(ENOTTY, ioctl(client.fd, _IOR('V', 0x00, uint32_t), space));
	REFUSED(EINVAL, read(client.fd, space, 8));
	REFUSED(EINVAL, write(client.fd, space, 8));
	client_close(&client);
}

static void start_refuses_what_is_out_of_range(void)
{
	struct client client = must_open();
	static char room[65537];
	struct vcuda_start good = {
		.greeting = (uintptr_t)room, .answer = (uintptr_t)room,
		.greeting_len = 65536, .answer_len = 65536,
	};
	struct vcuda_start bad;

	CHECK(!ioctl(client.fd, VCUDA_IOC_START, &good));
	CHECK(good.answer_len == 65536);
	bad = good, bad.greeting_len = 0;
	REFUSED(EINVAL, ioctl(client.fd, VCUDA_IOC_START, &bad));
	bad = good, bad.greeting_len = 65537;
	REFUSED(EINVAL, ioctl(client.fd, VCUDA_IOC_START, &bad));
	bad = good, bad.answer_len = 0;
	REFUSED(EINVAL, ioctl(client.fd, VCUDA_IOC_START, &bad));
	bad = good, bad.answer_len = UINT32_MAX;
	REFUSED(EINVAL, ioctl(client.fd, VCUDA_IOC_START, &bad));
	bad = good, bad.reserved[1] = 1;
	REFUSED(EINVAL, ioctl(client.fd, VCUDA_IOC_START, &bad));
	bad = good, bad.greeting = 16;
	REFUSED(EFAULT, ioctl(client.fd, VCUDA_IOC_START, &bad));
	bad = good, bad.answer = 16;
	REFUSED(EFAULT, ioctl(client.fd, VCUDA_IOC_START, &bad));
	client_close(&client);
}

static void created_memory_is_shared_with_the_device(void)
{
	struct client client = must_open();
	size_t len = 5 * PAGE + (1 << 20);
	uint64_t offset, result;
	uint8_t *at;

	CHECK(!memory_create(client.fd, 7, VCUDA_MEMORY_WINDOW, 0x10000, len, &offset));
	at = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, client.fd, offset);
	CHECK(at != MAP_FAILED);
	for (size_t i = 0; i < len; i++)
		CHECK(!at[i]);
	CHECK(!command_run(&client, 0, MEMORY_FILL, 7, 42, &result));
	CHECK(result == len);
	for (size_t i = 0; i < len; i++)
		CHECK(at[i] == pattern(i, 42));
	at[0] = 1, at[len - 1] = 2;
	CHECK(!command_run(&client, 0, MEMORY_SUM, 7, 0, &result));
	CHECK(result == sum(at, len));
	/* Destroyed memory is the program's as long as it is mapped. */
	CHECK(!memory_destroy(client.fd, 7));
	REFUSED(ENOENT, memory_destroy(client.fd, 7));
	CHECK(at[0] == 1 && at[len - 1] == 2);
	REFUSED(EINVAL, (long)mmap(NULL, len, PROT_READ, MAP_SHARED, client.fd, offset));
	CHECK(!command_run(&client, 0, HOLDINGS, 0, 0, &result));
	CHECK(result == 1);
	munmap(at, len);
	client_close(&client);
}

static void memory_create_refuses_what_is_out_of_range(void)
{
	struct client client = must_open();
	struct vcuda_memory good = { .id = 9, .len = PAGE, .kind = VCUDA_MEMORY_WINDOW }, bad;

	bad = good, bad.len = 0;
	REFUSED(EINVAL, ioctl(client.fd, VCUDA_IOC_MEMORY_CREATE, &bad));
	bad = good, bad.len = PAGE + 1;
	REFUSED(EINVAL, ioctl(client.fd, VCUDA_IOC_MEMORY_CREATE, &bad));
	bad = good, bad.address = 8;
	REFUSED(EINVAL, ioctl(client.fd, VCUDA_IOC_MEMORY_CREATE, &bad));
	bad = good, bad.address = -PAGE, bad.len = 2 * PAGE;
	REFUSED(EINVAL, ioctl(client.fd, VCUDA_IOC_MEMORY_CREATE, &bad));
	bad = good, bad.kind = 3;
	REFUSED(EINVAL, ioctl(client.fd, VCUDA_IOC_MEMORY_CREATE, &bad));
	bad = good, bad.kind = 0;
	REFUSED(EINVAL, ioctl(client.fd, VCUDA_IOC_MEMORY_CREATE, &bad));
	bad = good, bad.flags = 1;
	REFUSED(EINVAL, ioctl(client.fd, VCUDA_IOC_MEMORY_CREATE, &bad));
	bad = good, bad.reserved = 1;
	REFUSED(EINVAL, ioctl(client.fd, VCUDA_IOC_MEMORY_CREATE, &bad));
	bad = good, bad.kind = VCUDA_MEMORY_CONTROL, bad.address = PAGE;
	REFUSED(EINVAL, ioctl(client.fd, VCUDA_IOC_MEMORY_CREATE, &bad));
	/* There is one control memory, and each id is used once. */
	bad = good, bad.kind = VCUDA_MEMORY_CONTROL;
	REFUSED(EEXIST, ioctl(client.fd, VCUDA_IOC_MEMORY_CREATE, &bad));
	bad = good, bad.id = CONTROL_ID;
	REFUSED(EEXIST, ioctl(client.fd, VCUDA_IOC_MEMORY_CREATE, &bad));
	bad = good, bad.len = client.info.max_memory + PAGE;
	bad.len &= -PAGE;
	REFUSED(ENOMEM, ioctl(client.fd, VCUDA_IOC_MEMORY_CREATE, &bad));
	bad = good, bad.len = 1ull << 62;
	REFUSED(ENOMEM, ioctl(client.fd, VCUDA_IOC_MEMORY_CREATE, &bad));
	client_close(&client);
}

static void the_limit_counts_all_memory_of_a_session(void)
{
	struct client client = must_open();
	uint64_t half = (client.info.max_memory / 2 + PAGE) & -PAGE, offset;
	uint64_t part = half / 4 & -PAGE;

	/* Small pieces of which there is room for no eight. */
	CHECK(!memory_create(client.fd, 2, VCUDA_MEMORY_WINDOW, 0, part, &offset));
	REFUSED(ENOMEM, memory_create(client.fd, 3, VCUDA_MEMORY_WINDOW, 0,
				      client.info.max_memory & -PAGE, &offset));
	CHECK(!memory_destroy(client.fd, 2));
	CHECK(!memory_create(client.fd, 3, VCUDA_MEMORY_WINDOW, 0, part, &offset));
	client_close(&client);
}

static void mmap_takes_whole_shared_memory_only(void)
{
	struct client client = must_open();
	uint64_t offset;
	uint8_t *at, *again;
	int rw = PROT_READ | PROT_WRITE;

	CHECK(!memory_create(client.fd, 7, VCUDA_MEMORY_WINDOW, 0, 4 * PAGE, &offset));
	REFUSED(EINVAL, (long)mmap(NULL, 4 * PAGE, rw, MAP_PRIVATE, client.fd, offset));
	REFUSED(EINVAL, (long)mmap(NULL, 2 * PAGE, rw, MAP_SHARED, client.fd, offset));
	REFUSED(EINVAL, (long)mmap(NULL, 8 * PAGE, rw, MAP_SHARED, client.fd, offset));
	REFUSED(EINVAL, (long)mmap(NULL, 4 * PAGE, rw, MAP_SHARED, client.fd, offset + (1 << 20)));
	at = mmap(NULL, 4 * PAGE, rw, MAP_SHARED, client.fd, offset);
	again = mmap(NULL, 4 * PAGE, rw, MAP_SHARED, client.fd, offset);
	CHECK(at != MAP_FAILED && again != MAP_FAILED);
	at[PAGE] = 5;
	CHECK(again[PAGE] == 5);
	/* A hole in the middle makes two mappings of one. */
	CHECK(!munmap(at + PAGE, PAGE));
	at[2 * PAGE] = 6;
	CHECK(again[2 * PAGE] == 6);
	REFUSED(EFAULT, (long)mremap(again, 4 * PAGE, 8 * PAGE, MREMAP_MAYMOVE));
	munmap(at, 4 * PAGE);
	munmap(again, 4 * PAGE);
	client_close(&client);
}

static int child_status(pid_t child)
{
	int status;

	CHECK(waitpid(child, &status, 0) == child);
	return status;
}

static void a_child_gets_neither_mappings_nor_the_session(void)
{
	struct client client = must_open();
	struct vcuda_info info;
	pid_t child = fork();
	int status;

	if (!child) {
		*(volatile uint8_t *)client.control = 1;
		_exit(0);
	}
	status = child_status(child);
	CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
	child = fork();
	if (!child) {
		REFUSED(EPERM, ioctl(client.fd, VCUDA_IOC_INFO, &info));
		REFUSED(EPERM, transfer_submit(client.fd, 1, pages(PAGE), PAGE, VCUDA_TO_DEVICE));
		REFUSED(EPERM, (long)mmap(NULL, CONTROL_LEN, PROT_READ, MAP_SHARED, client.fd, 0));
		_exit(0);
	}
	CHECK(child_status(child) == 0);
	CHECK(!command_run(&client, 0, NOP, 0, 0, NULL));
	client_close(&client);
}

static void registered_memory_is_read_and_written_in_place(void)
{
	struct client client = must_open();
	size_t len = 300 * PAGE;
	uint8_t *at = pages(len);
	uint64_t result;

	for (size_t i = 0; i < len; i += 97)
		at[i] = i >> 5;
	CHECK(!memory_register(client.fd, 11, at, len));
	CHECK(statistics().pages_pinned == 300);
	REFUSED(EEXIST, memory_register(client.fd, 11, at, len));
	CHECK(!command_run(&client, 3, MEMORY_SUM, 11, 0, &result));
	CHECK(result == sum(at, len));
	CHECK(!command_run(&client, 3, MEMORY_FILL, 11, 5, &result));
	for (size_t i = 0; i < len; i++)
		CHECK(at[i] == pattern(i, 5));
	CHECK(!memory_destroy(client.fd, 11));
	CHECK(statistics().pages_pinned == 0);
	munmap(at, len);
	client_close(&client);
}

static void memory_register_refuses_what_it_cannot_pin(void)
{
	struct client client = must_open();
	uint8_t *at = pages(4 * PAGE);
	struct vcuda_register bad = { .id = 1, .address = (uintptr_t)at, .len = PAGE, .flags = 1 };
	struct rlimit limit = { 64 << 10, 64 << 10 }, old;

	REFUSED(EINVAL, ioctl(client.fd, VCUDA_IOC_MEMORY_REGISTER, &bad));
	bad.flags = 0, bad.reserved = 1;
	REFUSED(EINVAL, ioctl(client.fd, VCUDA_IOC_MEMORY_REGISTER, &bad));
	REFUSED(EINVAL, memory_register(client.fd, 2, at + 1, PAGE));
	REFUSED(EINVAL, memory_register(client.fd, 2, at, PAGE - 1));
	REFUSED(EINVAL, memory_register(client.fd, 2, at, 0));
	REFUSED(EINVAL, memory_register(client.fd, 2, (void *)-PAGE, PAGE));
	REFUSED(ENOMEM, memory_register(client.fd, 2, at, 1ull << 46));
	REFUSED(EFAULT, memory_register(client.fd, 2, (void *)(16 * PAGE), PAGE));
	CHECK(!munmap(at + 2 * PAGE, PAGE));
	REFUSED(EFAULT, memory_register(client.fd, 2, at, 4 * PAGE));
	CHECK(!mprotect(at, PAGE, PROT_READ));
	REFUSED(EFAULT, memory_register(client.fd, 2, at, PAGE));
	/* RLIMIT_MEMLOCK counts for those who may not exceed it. */
	CHECK(!getrlimit(RLIMIT_MEMLOCK, &old));
	CHECK(!setrlimit(RLIMIT_MEMLOCK, &(struct rlimit){ limit.rlim_cur, old.rlim_max }));
	CHECK(!seteuid(1000));
	at = pages(1 << 20);
	REFUSED(ENOMEM, memory_register(client.fd, 2, at, 1 << 20));
	CHECK(!memory_register(client.fd, 2, at, 32 << 10));
	REFUSED(ENOMEM, memory_register(client.fd, 3, at + (32 << 10), 36 << 10));
	CHECK(!memory_destroy(client.fd, 2));
	CHECK(!memory_register(client.fd, 3, at + (32 << 10), 64 << 10));
	CHECK(!seteuid(0));
	CHECK(!setrlimit(RLIMIT_MEMLOCK, &old));
	CHECK(statistics().pages_pinned == 16);
	client_close(&client);
	must_settle();
}

static void transfer_of(struct client *client, uint8_t *at, size_t len, uint64_t id)
{
	uint64_t result;

	for (size_t i = 0; i < len; i++)
		at[i] = i * 31 + len;
	at[-1] = 0xaa, at[len] = 0xbb;
	CHECK(!transfer_submit(client->fd, id, at, len, VCUDA_TO_DEVICE));
	CHECK(!command_run(client, 1, TRANSFER, id, 0, &result));
	CHECK(!transfer_wait(client->fd, id));
	if (result != sum(at, len))
		fail(__FILE__, __LINE__, "%zu bytes to the device arrived changed", len);
	CHECK(!transfer_submit(client->fd, id, at, len, VCUDA_FROM_DEVICE));
	CHECK(!command_run(client, 1, TRANSFER, id, len, &result));
	CHECK(!transfer_wait(client->fd, id));
	CHECK(result == len);
	for (size_t i = 0; i < len; i++)
		if (at[i] != pattern(i, len & 0xff))
			fail(__FILE__, __LINE__, "byte %zu of %zu from the device is wrong", i, len);
	CHECK(at[-1] == 0xaa && at[len] == 0xbb);
}

static void transfers_carry_any_range_in_place(void)
{
	size_t sizes[] = { 1, 15, 4095, 4096, 4097, 70000, (1 << 20) + 3, 6 << 20 };
	struct client client = must_open();
	uint8_t *at = pages(8 << 20);
	uint64_t state = 1, total = 0;
	struct vcuda_statistics before = statistics(), after;

	/* So that neighbours in the process are none in memory. */
	for (int i = 0; i < 20000; i++)
		at[random_next(&state) % (8 << 20)] = 1;
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		size_t offsets[] = { 16, PAGE - 1, PAGE };

		for (int k = 0; k < 3; k++) {
			if (sizes[i] > client.info.max_transfer)
				continue;
			transfer_of(&client, at + offsets[k], sizes[i], i * 3 + k);
			total += 2 * sizes[i];
		}
	}
	after = statistics();
	CHECK(after.bytes_transferred - before.bytes_transferred == total);
	CHECK(after.bytes_copied == 0);
	CHECK(after.pages_pinned == 0);
	munmap(at, 8 << 20);
	client_close(&client);
}

static void the_longest_transfer_of_scattered_pages_passes(void)
{
	struct client client = must_open();
	size_t len = client.info.max_transfer;
	uint64_t state = 3;
	uint8_t *at;

	if (len > 16 << 20)
		len = 16 << 20;
	at = pages(len + 4 * PAGE);
	for (size_t i = 0; i < len / PAGE; i++)
		at[random_next(&state) % len] = 1;
	transfer_of(&client, at + PAGE - 1, len, 1);
	munmap(at, len + 4 * PAGE);
	client_close(&client);
}

static void transfers_refuse_what_is_out_of_range(void)
{
	struct client client = must_open();
	uint8_t *at = pages(4 * PAGE);
	struct vcuda_transfer bad = {
		.id = 1, .address = (uintptr_t)at, .len = 8, .direction = 1, .flags = 1,
	};

	REFUSED(EINVAL, ioctl(client.fd, VCUDA_IOC_TRANSFER_SUBMIT, &bad));
	REFUSED(EINVAL, transfer_submit(client.fd, 1, at, 8, 0));
	REFUSED(EINVAL, transfer_submit(client.fd, 1, at, 8, 3));
	REFUSED(EINVAL, transfer_submit(client.fd, 1, at, 0, VCUDA_TO_DEVICE));
	REFUSED(EINVAL, transfer_submit(client.fd, 1, at, client.info.max_transfer + 1, 1));
	REFUSED(EINVAL, transfer_submit(client.fd, 1, (void *)-8, 16, 1));
	REFUSED(EINVAL, transfer_submit(client.fd, 1, at, UINT64_MAX, 1));
	REFUSED(EFAULT, transfer_submit(client.fd, 1, (void *)16, 16, 1));
	CHECK(!munmap(at + 2 * PAGE, PAGE));
	REFUSED(EFAULT, transfer_submit(client.fd, 1, at, 4 * PAGE, 1));
	CHECK(!mprotect(at, PAGE, PROT_READ));
	REFUSED(EFAULT, transfer_submit(client.fd, 1, at, PAGE, VCUDA_FROM_DEVICE));
	REFUSED(ENOENT, transfer_wait(client.fd, 1));
	CHECK(!transfer_submit(client.fd, 1, at, PAGE, VCUDA_TO_DEVICE));
	REFUSED(EEXIST, transfer_submit(client.fd, 1, at, PAGE, VCUDA_TO_DEVICE));
	CHECK(!command_run(&client, 0, TRANSFER, 1, 0, NULL));
	CHECK(!transfer_wait(client.fd, 1));
	REFUSED(ENOENT, transfer_wait(client.fd, 1));
	CHECK(statistics().pages_pinned == 0);
	munmap(at, 4 * PAGE);
	client_close(&client);
}

static void many_transfers_are_under_way_at_once(void)
{
	enum { COUNT = 24, LEN = 20000 };
	struct client client = must_open();
	uint8_t *at = pages(COUNT * LEN);
	uint32_t before;

	for (uint64_t i = 0; i < COUNT; i++)
		CHECK(!transfer_submit(client.fd, i, at + i * LEN, LEN, VCUDA_FROM_DEVICE));
	for (uint64_t i = 0; i < COUNT; i++)
		CHECK(!command_post(&client, i, TRANSFER, COUNT - 1 - i, COUNT - 1 - i, &before));
	for (uint64_t i = 0; i < COUNT; i++)
		CHECK(!transfer_wait(client.fd, i));
	for (uint64_t i = 0; i < COUNT; i++)
		for (size_t k = 0; k < LEN; k++)
			CHECK(at[i * LEN + k] == pattern(k, i));
	munmap(at, COUNT * LEN);
	client_close(&client);
}

static void pages_may_be_unmapped_while_the_device_has_them(void)
{
	struct client client = must_open();
	uint8_t *at = pages(1 << 20);
	uint64_t result;

	memset(at, 3, 1 << 20);
	CHECK(!transfer_submit(client.fd, 1, at, 400000, VCUDA_TO_DEVICE));
	CHECK(!transfer_submit(client.fd, 2, at + (1 << 19), 400000, VCUDA_FROM_DEVICE));
	result = sum(at, 400000);
	CHECK(!munmap(at, 1 << 20));
	uint64_t got;

	CHECK(!command_run(&client, 0, TRANSFER, 1, 0, &got));
	CHECK(got == result);
	CHECK(!command_run(&client, 0, TRANSFER, 2, 0, &got));
	CHECK(!transfer_wait(client.fd, 1));
	CHECK(!transfer_wait(client.fd, 2));
	CHECK(statistics().pages_pinned == 0);
	client_close(&client);
}

static void on_alarm(int number)
{
	(void)number;
}

static void waiting_ends_for_five_reasons(void)
{
	struct client client = must_open();
	struct sigaction action = { .sa_handler = on_alarm, .sa_flags = SA_RESTART };
	double start = now();
	uint32_t before;

	/* The word is another. */
	CHECK(!wait_word(client.fd, 0, 12345, UINT64_MAX));
	/* The time is up. */
	REFUSED(ETIMEDOUT, wait_word(client.fd, 0, 0, 0));
	REFUSED(ETIMEDOUT, wait_word(client.fd, 64, 0, 50000000));
	CHECK(now() - start > 0.045 && now() - start < 60);
	/* A signal. */
	CHECK(!sigaction(SIGALRM, &action, NULL));
	ualarm(50000, 0);
	REFUSED(EINTR, wait_word(client.fd, 0, 0, UINT64_MAX));
	/* The device wakes. */
	CHECK(!command_post(&client, 0, NOP, 0, 0, &before));
	CHECK(!command_wait(&client, 0, before, NULL));
	/* Without an event nothing does, but the word is found changed. */
	before = *(volatile uint32_t *)client.control;
	CHECK(!command_post(&client, 0, SILENT, 0, 0, &before));
	while (*(volatile uint32_t *)client.control == before)
		usleep(1000);
	CHECK(!wait_word(client.fd, 0, before, UINT64_MAX));
	/* Offsets that are none. */
	REFUSED(EINVAL, wait_word(client.fd, 2, 0, 0));
	REFUSED(EINVAL, wait_word(client.fd, CONTROL_LEN, 0, 0));
	REFUSED(EINVAL, wait_word(client.fd, UINT32_MAX - 3, 0, 0));
	/* The session ends. */
	CHECK(!command_run(&client, 1, END, 0, 0, NULL));
	while (!wait_word(client.fd, 0, *(volatile uint32_t *)client.control, UINT64_MAX))
		;
	CHECK(errno == EPIPE);
	client_close(&client);
}

static void an_ended_session_says_so(void)
{
	struct client client = must_open();
	struct pollfd pollfd = { .fd = client.fd, .events = POLLIN };
	uint8_t *at = pages(4 * PAGE);
	struct vcuda_info info;
	uint64_t offset;
	double end;

	CHECK(poll(&pollfd, 1, 0) == 0);
	CHECK(!memory_register(client.fd, 5, at, PAGE));
	CHECK(!transfer_submit(client.fd, 1, at, 4 * PAGE, VCUDA_TO_DEVICE));
	CHECK(!command_run(&client, 1, END, 0, 0, NULL));
	CHECK(poll(&pollfd, 1, 60000) == 1 && pollfd.revents == POLLHUP);
	REFUSED(EPIPE, transfer_wait(client.fd, 1));
	REFUSED(ENOENT, transfer_wait(client.fd, 1));
	REFUSED(EPIPE, ioctl(client.fd, VCUDA_IOC_KICK));
	REFUSED(EPIPE, transfer_submit(client.fd, 1, at, PAGE, VCUDA_TO_DEVICE));
	REFUSED(EPIPE, memory_create(client.fd, 6, VCUDA_MEMORY_WINDOW, 0, PAGE, &offset));
	REFUSED(EPIPE, memory_register(client.fd, 6, at, PAGE));
	CHECK(!ioctl(client.fd, VCUDA_IOC_INFO, &info));
	/* What the program takes back, it gets. */
	CHECK(!memory_destroy(client.fd, 5));
	for (end = now() + 60; statistics().pages_pinned && now() < end;)
		usleep(1000);
	CHECK(!statistics().pages_pinned);
	munmap(at, 4 * PAGE);
	client_close(&client);
}

static void closing_frees_all(void)
{
	struct client client;
	uint8_t *at = pages(1 << 20);
	uint64_t offset;

	for (int i = 0; i < 10; i++) {
		client = must_open();
		CHECK(!memory_create(client.fd, 3, VCUDA_MEMORY_WINDOW, 0, 1 << 20, &offset));
		CHECK(!memory_register(client.fd, 4, at, 1 << 20));
		CHECK(!transfer_submit(client.fd, 5, at, 300000, VCUDA_FROM_DEVICE));
		client_close(&client);
	}
	must_settle();
	munmap(at, 1 << 20);
}

static void a_killed_process_leaves_nothing(void)
{
	for (int i = 0; i < 20; i++) {
		int status, ready[2];
		char byte;
		pid_t child;

		CHECK(!pipe(ready));
		child = fork();
		if (!child) {
			struct client client = must_open();
			uint8_t *at = pages(1 << 20);

			CHECK(!memory_register(client.fd, 4, at, 1 << 18));
			CHECK(!transfer_submit(client.fd, 5, at, 400000, VCUDA_TO_DEVICE));
			CHECK(write(ready[1], "", 1) == 1);
			transfer_wait(client.fd, 5); /* nothing ever executes it */
			_exit(0);
		}
		CHECK(read(ready[0], &byte, 1) == 1);
		usleep(i * 500);
		CHECK(!kill(child, SIGKILL));
		CHECK(waitpid(child, &status, 0) == child && WIFSIGNALED(status));
		close(ready[0]);
		close(ready[1]);
	}
	must_settle();
}

static void kicks_do_not_pile_up(void)
{
	struct client client = must_open();
	double start = now();

	for (int i = 0; i < 5000; i++)
		CHECK(!ioctl(client.fd, VCUDA_IOC_KICK));
	printf("  %.1f us for a kick\n", (now() - start) / 5000 * 1e6);
	CHECK(!command_run(&client, 0, NOP, 0, 0, NULL));
	/* More events than the driver has buffers for. */
	CHECK(!command_run(&client, 0, EVENTS, 0, 1000, NULL));
	CHECK(!command_run(&client, 0, NOP, 0, 0, NULL));
	client_close(&client);
}

static void speed_is_what_the_device_allows(void)
{
	struct client client = must_open();
	size_t len = 4 << 20;
	uint8_t *at;
	double start;

	if (len > client.info.max_transfer)
		len = client.info.max_transfer & -PAGE;
	at = pages(len);
	memset(at, 1, len);
	start = now();
	for (int i = 0; i < 1000; i++)
		CHECK(!command_run(&client, 0, NOP, 0, 0, NULL));
	printf("  %.1f us for a command and its answer\n", (now() - start) / 1000 * 1e6);
	start = now();
	for (int i = 0; i < 10; i++) {
		CHECK(!transfer_submit(client.fd, 1, at, len, VCUDA_TO_DEVICE));
		CHECK(!command_run(&client, 0, TRANSFER, 1, 0, NULL));
		CHECK(!transfer_wait(client.fd, 1));
	}
	printf("  %.0f us for %zu KiB, of which the device sums each byte\n",
	       (now() - start) / 10 * 1e6, len >> 10);
	munmap(at, len);
	client_close(&client);
}

#define TEST(name) { #name, name }

int functional(int argc, char **argv)
{
	static const struct {
		const char *name;
		void (*run)(void);
	} tests[] = {
		TEST(info_names_version_and_limits),
		TEST(bad_pointers_are_refused),
		TEST(unknown_ioctls_are_refused),
		TEST(start_refuses_what_is_out_of_range),
		TEST(created_memory_is_shared_with_the_device),
		TEST(memory_create_refuses_what_is_out_of_range),
		TEST(the_limit_counts_all_memory_of_a_session),
		TEST(mmap_takes_whole_shared_memory_only),
		TEST(a_child_gets_neither_mappings_nor_the_session),
		TEST(registered_memory_is_read_and_written_in_place),
		TEST(memory_register_refuses_what_it_cannot_pin),
		TEST(transfers_carry_any_range_in_place),
		TEST(the_longest_transfer_of_scattered_pages_passes),
		TEST(transfers_refuse_what_is_out_of_range),
		TEST(many_transfers_are_under_way_at_once),
		TEST(pages_may_be_unmapped_while_the_device_has_them),
		TEST(waiting_ends_for_five_reasons),
		TEST(an_ended_session_says_so),
		TEST(closing_frees_all),
		TEST(a_killed_process_leaves_nothing),
		TEST(kicks_do_not_pile_up),
		TEST(speed_is_what_the_device_allows),
	};
	int failed = 0, status;

	for (size_t i = 0; i < sizeof(tests) / sizeof(tests[0]); i++) {
		if (argc > 1 && !strstr(tests[i].name, argv[1]))
			continue;
		fflush(stdout);
		double start = now();
		pid_t child = fork();

		if (!child) {
			tests[i].run();
			must_settle();
			fflush(stdout);
			_exit(0);
		}
		CHECK(waitpid(child, &status, 0) == child);
		printf("%s %s (%.2f s)\n", status ? "FAILED" : "ok", tests[i].name, now() - start);
		failed += !!status;
	}
	printf("%d tests failed\n", failed);
	return !!failed;
}
