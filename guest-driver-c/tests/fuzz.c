// SPDX-License-Identifier: GPL-2.0
/* Ioctls with anything in them, from threads that also map, unmap and close what the others use. */
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "harness.h"

#define FDS	4

static volatile int fds[FDS];
static uint8_t *arena;
#define ARENA	(64 * PAGE)

static uint64_t value(uint64_t *state)
{
	static const uint64_t special[] = {
		0, 1, 2, 3, 4, 8, 4095, 4096, 8192, 65536, 65537, 1 << 20, 1 << 30,
		UINT32_MAX, 1ull << 32, 1ull << 47, 1ull << 63, UINT64_MAX, -4096ull, -4095ull,
	};
	uint64_t choice = random_next(state);

	switch (choice % 8) {
	case 0:
		return random_next(state);
	case 1:
	case 2:
		return (uintptr_t)arena + random_next(state) % ARENA;
	case 3:
		return (uintptr_t)arena + random_next(state) % 64 * PAGE;
	case 4:
		return random_next(state) % 16;
	case 5:
		return random_next(state) % 16 * PAGE;
	default:
		return special[(choice >> 8) % (sizeof(special) / sizeof(special[0]))];
	}
}

static void *attack(void *argument)
{
	static const unsigned long requests[] = {
		VCUDA_IOC_INFO, VCUDA_IOC_START, VCUDA_IOC_MEMORY_CREATE,
		VCUDA_IOC_MEMORY_REGISTER, VCUDA_IOC_MEMORY_DESTROY, VCUDA_IOC_TRANSFER_SUBMIT,
		VCUDA_IOC_KICK, VCUDA_IOC_WAIT, VCUDA_IOC_STATISTICS, _IO('V', 0x0a),
		/* Last: it would wait for what nothing executes. */
		VCUDA_IOC_TRANSFER_WAIT,
	};
	uint64_t state = (uintptr_t)argument;

	for (;;) {
		uint64_t words[8], choice = random_next(&state);
		int fd = fds[choice % FDS];
		unsigned long request;

		for (int i = 0; i < 8; i++)
			words[i] = value(&state);
		/* Directions and kinds that are right more often than not. */
		if (choice >> 8 & 1)
			words[3] = 1 + (choice >> 9 & 1);
		switch (choice >> 16 & 31) {
		case 0:
			fds[choice % FDS] = open(DEVICE, O_RDWR);
			close(fd);
			break;
		case 1: {
			uint64_t len = (1 + random_next(&state) % 16) * PAGE;
			void *at = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, fd,
					random_next(&state) % 8 * PAGE);

			if (at != MAP_FAILED) {
				*(volatile uint8_t *)at = 0;
				munmap(at, len / 2 & -PAGE ?: PAGE);
				munmap(at, len);
			}
			break;
		}
		case 2:
			madvise(arena + random_next(&state) % 32 * PAGE, 8 * PAGE, MADV_DONTNEED);
			break;
		default:
			request = requests[(choice >> 24) % (sizeof(requests) / sizeof(requests[0]) - 1)];
			if (request == VCUDA_IOC_WAIT)
				words[1] = random_next(&state) % 1000000;
			ioctl(fd, request, choice >> 40 & 15 ? (uintptr_t)words : value(&state));
		}
	}
	return NULL;
}

/* fuzz SECONDS SEED */
int fuzz(int argc, char **argv)
{
	double end = now() + (argc > 1 ? atof(argv[1]) : 3);
	uint64_t seed = argc > 2 ? strtoull(argv[2], NULL, 0) : 1;
	int status, rounds = 0;

	while (now() < end) {
		pid_t child = fork();

		CHECK(child >= 0);
		if (!child) {
			pthread_t thread;

			arena = pages(ARENA);
			for (int i = 0; i < FDS; i++)
				fds[i] = open(DEVICE, O_RDWR);
			for (uint64_t i = 1; i <= 4; i++)
				pthread_create(&thread, NULL, attack,
					       (void *)(uintptr_t)((seed * 64 + rounds * 8 + i) *
								   0x9e3779b97f4a7c15));
			pause();
		}
		usleep(300000);
		kill(child, SIGKILL);
		CHECK(waitpid(child, &status, 0) == child);
		rounds++;
	}
	printf("fuzz: %d rounds\n", rounds);
	return 0;
}
