/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The driver's own declarations. What the device sees is in linux/virtio_vcuda.h, what programs
 * see in linux/vcuda.h.
 *
 * Locks, outermost first:
 *
 *	vcuda_device.stop_lock		starting and stopping the device
 *	vcuda_device.transfer_lock	order of the chains of transfers
 *	vcuda_session.lock		opening, and the control memory; taken in the callback
 *	vcuda_queue.lock		one virtqueue; taken in its callback, hence irqsave
 *
 * The locks of a session's xarrays are taken alone, and protect the looking up of what is in them.
 *
 * mmap_lock is never taken inside any of them.
 */
#ifndef _VCUDA_H
#define _VCUDA_H

#include <linux/cdev.h>
#include <linux/completion.h>
#include <linux/device.h>
#include <linux/kref.h>
#include <linux/mm_types.h>
#include <linux/mutex.h>
#include <linux/scatterlist.h>
#include <linux/spinlock.h>
#include <linux/virtio.h>
#include <linux/wait.h>
#include <linux/workqueue.h>
#include <linux/xarray.h>

#include <linux/vcuda.h>
#include <linux/virtio_vcuda.h>

#define VCUDA_MAX_TRANSFER_QUEUES	8
#define VCUDA_MAX_QUEUES	(VIRTIO_VCUDA_QUEUE_TRANSFER + VCUDA_MAX_TRANSFER_QUEUES)
#define VCUDA_EVENTS		64
#define VCUDA_MAX_TRANSFER	(64UL << 20)

struct vcuda_session;

/**
 * struct vcuda_queue - a virtqueue that carries requests
 * @vd: the device
 * @lock: protects all that follows, and the virtqueue
 * @vq: NULL while the device is stopped
 * @backlog: requests for which the ring has had no room yet, oldest first
 * @retry: adds from the backlog when only memory was short
 */
struct vcuda_queue {
	struct vcuda_device *vd;
	spinlock_t lock;
	struct virtqueue *vq;
	struct list_head backlog;
	struct delayed_work retry;
};

struct vcuda_device {
	struct device dev;		/* lives as long as a file or a session */
	struct cdev cdev;
	struct virtio_device *vdev;	/* only while not stopped */

	struct mutex stop_lock;
	bool running;
	unsigned int num_queues;
	struct vcuda_queue queues[VCUDA_MAX_QUEUES];
	struct virtio_vcuda_event *events;
	unsigned int max_segments;	/* of one chain */
	size_t max_transfer;

	struct mutex transfer_lock;
	unsigned int next_queue;

	struct xarray sessions;		/* by the device's id */
	struct work_struct fail_work;
	struct delayed_work watchdog;
	atomic_t unanswered;		/* a HELLO of the watchdog is under way */
	unsigned long asked;		/* jiffies when it was sent */

	atomic64_t requests;
	atomic64_t kicks;
	atomic64_t received;		/* events */
	atomic64_t sleeps;
	atomic64_t bytes_transferred;
	atomic64_t pages_pinned;
	atomic64_t open_sessions;
};

/**
 * struct vcuda_request - one descriptor chain, from its making until the device has returned it
 * @ref: the maker's and the queue's
 * @node: in the backlog, or among those just returned
 * @done: the device has returned the chain, or will never see it again
 * @result: 0 or a negative errno, once done
 * @written: bytes after the response that the device says to have written, once done
 * @on_added: called once, under the queue's lock, when the chain is in the ring or never will be
 * @on_done: called once, in any context, before @done is completed
 * @owner: for the two functions
 * @payload: what the chain brings along; freed with the request
 * @answer: what it asks for; freed with the request
 * @data: pages of a transfer, which belong to @owner
 * @data_len: their bytes
 * @data_in: the device writes them
 *
 * The device may use header, response, payload and answer until the request is done, whoever has
 * stopped waiting for it: hence the reference that the queue holds.
 */
struct vcuda_request {
	struct kref ref;
	struct list_head node;
	struct completion done;
	int result;
	u32 written;
	bool added;
	void (*on_added)(struct vcuda_request *req);
	void (*on_done)(struct vcuda_request *req);
	void *owner;
	void *payload;
	u32 payload_len;
	void *answer;
	u32 answer_len;
	struct scatterlist *data;
	u32 data_len;
	bool data_in;
	struct virtio_vcuda_request header;
	struct virtio_vcuda_response response;
};

/**
 * struct vcuda_session - an open file, and what the device holds for it
 * @ref: the file's until it is closed, then that of the request to close; one for each memory and
 *	transfer; the last is dropped where sleeping is allowed
 * @wait: woken by events, and when the session or the device has gone
 * @mm: the process that opened the file, to which locked memory is accounted
 * @id: the device's name for the session, once open
 * @wakes: counts events
 * @ended: the worker has ended: EPIPE
 * @gone: the device has: ENODEV
 * @lock: protects @opening to @abandoned, and @control
 * @opening: the device has not yet answered the request to open
 * @opened: it has opened the session
 * @abandoned: nobody waits for its answer
 * @close: the request to close, made beforehand so that closing cannot fail; NULL once sent
 * @work: what follows the answer to the request to open (if abandoned) or to close
 * @memories: by the client's id
 * @maps: memories of the driver, by page offset in the file
 * @transfers: by the client's id
 * @control: the control memory, one of @memories
 * @bytes: of memories and transfers
 */
struct vcuda_session {
	struct kref ref;
	struct rcu_head rcu;
	struct vcuda_device *vd;
	wait_queue_head_t wait;
	struct mm_struct *mm;
	u32 id;
	atomic_t wakes;
	bool ended;
	bool gone;
	spinlock_t lock;
	bool opening;
	bool opened;
	bool abandoned;
	struct vcuda_request *close;
	struct work_struct work;
	struct xarray memories;
	struct xarray maps;
	struct xarray transfers;
	struct vcuda_mem *control;
	atomic64_t bytes;
};

enum vcuda_memory_state {
	VCUDA_MEMORY_ADDING,
	VCUDA_MEMORY_LIVE,
	VCUDA_MEMORY_REMOVING,
};

/**
 * struct vcuda_mem - pages that the device may use until they are removed
 * @ref: the table's, one for each mapping, and those of waiters for a word in it
 * @session: whose it is; a mapping holds the file, and with it the session
 * @id: the client's name for it
 * @len: in bytes
 * @kind: VIRTIO_VCUDA_MEMORY_*; pages of MEMORY_USER are pinned, others are the driver's
 * @state: under the lock of session->memories. A memory whose adding or removing was broken off
 *	stays in that state until the session is closed: the device may have it.
 * @map: its page offset in the file, if it is the driver's
 * @count: of @pages
 */
struct vcuda_mem {
	struct kref ref;
	struct vcuda_session *session;
	u64 id;
	u64 len;
	u64 address;
	enum vcuda_memory_state state;
	u32 kind;
	u32 map;
	unsigned long count;
	struct page **pages;
};

/* A stand-in device has its own configuration space: what is said there, HELLO alone tells. */
static inline bool vcuda_is_native(struct virtio_device *vdev)
{
	return vdev->id.device == VIRTIO_ID_VCUDA;
}

/* vcuda_main.c */
extern struct workqueue_struct *vcuda_wq;

/* vcuda_device.c */
void vcuda_device_init(struct vcuda_device *vd);
int vcuda_device_start(struct vcuda_device *vd);
void vcuda_device_stop(struct vcuda_device *vd);
void vcuda_device_shut(struct vcuda_device *vd);
void vcuda_device_fail(struct vcuda_device *vd);
void vcuda_device_watch(struct vcuda_device *vd);

/* vcuda_request.c */
void vcuda_queue_init(struct vcuda_queue *queue, struct vcuda_device *vd);
void vcuda_queue_callback(struct virtqueue *vq);
void vcuda_queue_drain(struct vcuda_queue *queue, struct virtqueue *vq, struct list_head *drained);
void vcuda_requests_fail(struct list_head *drained);
struct vcuda_request *vcuda_request_new(enum virtio_vcuda_op op, struct vcuda_session *session);
void vcuda_request_put(struct vcuda_request *req);
int vcuda_request_submit(struct vcuda_queue *queue, struct vcuda_request *req);
int vcuda_request_wait(struct vcuda_request *req);
int vcuda_control(struct vcuda_device *vd, struct vcuda_request *req);

static inline struct vcuda_queue *vcuda_control_queue(struct vcuda_device *vd)
{
	return &vd->queues[VIRTIO_VCUDA_QUEUE_CONTROL];
}

/* vcuda_session.c */
extern const struct file_operations vcuda_fops;
void vcuda_session_put(struct vcuda_session *session);
int vcuda_session_charge(struct vcuda_session *session, u64 len);
void vcuda_session_uncharge(struct vcuda_session *session, u64 len);
void vcuda_session_event(struct vcuda_device *vd, u32 id, u32 kind);
int vcuda_session_error(struct vcuda_session *session);

/* vcuda_memory.c */
int vcuda_memory_create(struct vcuda_session *session, void __user *arg);
int vcuda_memory_register(struct vcuda_session *session, void __user *arg);
int vcuda_memory_destroy(struct vcuda_session *session, void __user *arg);
int vcuda_memory_mmap(struct vcuda_session *session, struct vm_area_struct *vma);
struct vcuda_mem *vcuda_memory_control(struct vcuda_session *session);
void vcuda_memory_put(struct vcuda_mem *memory);
void vcuda_memories_free(struct vcuda_session *session);

/* vcuda_transfer.c */
int vcuda_transfer_submit(struct vcuda_session *session, void __user *arg);
int vcuda_transfer_wait(struct vcuda_session *session, void __user *arg);
void vcuda_transfers_free(struct vcuda_session *session);

/* vcuda_pages.c */
struct page **vcuda_pages_pin(struct vcuda_device *vd, u64 address, unsigned long count,
			      unsigned int gup_flags);
void vcuda_pages_unpin(struct vcuda_device *vd, struct page **pages, unsigned long count,
		       bool dirty);
struct page **vcuda_pages_alloc(unsigned long count);
void vcuda_pages_free(struct page **pages, unsigned long count);

#endif
