// SPDX-License-Identifier: GPL-2.0
/*
 * The device: its queues and events, believing it, and its end.
 *
 * A device is started (vcuda_device_start()) and stopped (vcuda_device_stop()). It is stopped when
 * it is removed, when it breaks or asks for a reset, when it no longer answers, and before the
 * system sleeps. Once it is stopped it touches no memory of the guest; every request that it had is
 * done with ENODEV, and every session is gone. Open files stay, and get errors, until they are
 * closed.
 */
#include <linux/moduleparam.h>
#include <linux/sched.h>
#include <linux/slab.h>
#include <linux/version.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>

#include "vcuda.h"

/* The largest chain of a control request is four descriptors; a transfer's needs room for pages. */
#define VCUDA_MIN_RING		16
#define VCUDA_WATCH_INTERVAL	HZ

static unsigned int timeout = 30;
module_param(timeout, uint, 0644);
MODULE_PARM_DESC(timeout, "seconds without an answer after which the device counts as dead; 0: never");

/* Events: buffers that the device fills to say that something has happened in a session. */

static void vcuda_event_callback(struct virtqueue *vq)
{
	struct vcuda_device *vd = vq->vdev->priv;
	struct vcuda_queue *queue = &vd->queues[VIRTIO_VCUDA_QUEUE_EVENT];
	struct virtio_vcuda_event *event;
	struct scatterlist sg;
	unsigned long flags;
	bool notify = false;
	unsigned int used;

	rcu_read_lock();
	spin_lock_irqsave(&queue->lock, flags);
	if (queue->vq) {
		do {
			virtqueue_disable_cb(vq);
			while ((event = virtqueue_get_buf(vq, &used))) {
				u32 kind = le32_to_cpu(READ_ONCE(event->kind));
				u32 id = le32_to_cpu(READ_ONCE(event->session));

				if (used == sizeof(*event)) {
					atomic64_inc(&vd->received);
					vcuda_session_event(vd, id, kind);
				} else {
					dev_err_ratelimited(&vd->dev, "the device wrote an event of %u bytes\n",
							    used);
				}
				sg_init_one(&sg, event, sizeof(*event));
				if (virtqueue_add_inbuf(vq, &sg, 1, event, GFP_ATOMIC))
					vcuda_device_fail(vd);
			}
		} while (!virtqueue_enable_cb(vq));
		if (virtqueue_is_broken(vq))
			vcuda_device_fail(vd);
		else
			notify = virtqueue_kick_prepare(vq);
	}
	spin_unlock_irqrestore(&queue->lock, flags);
	if (notify && !virtqueue_notify(vq))
		vcuda_device_fail(vd);
	rcu_read_unlock();
}

static int vcuda_events_post(struct vcuda_device *vd)
{
	struct vcuda_queue *queue = &vd->queues[VIRTIO_VCUDA_QUEUE_EVENT];
	struct virtqueue *vq = queue->vq;
	unsigned int i, count = min_t(unsigned int, VCUDA_EVENTS, virtqueue_get_vring_size(vq));
	struct scatterlist sg;
	bool notify;
	int ret = 0;

	spin_lock_irq(&queue->lock);
	for (i = 0; i < count && !ret; i++) {
		sg_init_one(&sg, &vd->events[i], sizeof(vd->events[i]));
		ret = virtqueue_add_inbuf(vq, &sg, 1, &vd->events[i], GFP_ATOMIC);
	}
	notify = virtqueue_kick_prepare(vq);
	spin_unlock_irq(&queue->lock);
	if (notify)
		virtqueue_notify(vq);
	return ret;
}

/* Queues */

static int vcuda_find_queues(struct vcuda_device *vd, struct virtqueue *vqs[])
{
	static const char * const names[VCUDA_MAX_QUEUES] = {
		"control", "event", "transfer0", "transfer1", "transfer2", "transfer3",
		"transfer4", "transfer5", "transfer6", "transfer7",
	};
	unsigned int i;
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 11, 0)
	struct virtqueue_info infos[VCUDA_MAX_QUEUES] = {};

	for (i = 0; i < vd->num_queues; i++) {
		infos[i].name = names[i];
		infos[i].callback = i == VIRTIO_VCUDA_QUEUE_EVENT ? vcuda_event_callback :
								    vcuda_queue_callback;
	}
	return virtio_find_vqs(vd->vdev, vd->num_queues, vqs, infos, NULL);
#else
	vq_callback_t *callbacks[VCUDA_MAX_QUEUES];

	for (i = 0; i < vd->num_queues; i++)
		callbacks[i] = i == VIRTIO_VCUDA_QUEUE_EVENT ? vcuda_event_callback :
							       vcuda_queue_callback;
	return virtio_find_vqs(vd->vdev, vd->num_queues, vqs, callbacks, names, NULL);
#endif
}

static int vcuda_check_config(struct vcuda_device *vd, const struct virtio_vcuda_config *config)
{
	if (le32_to_cpu(config->magic) != VIRTIO_VCUDA_MAGIC) {
		dev_err(&vd->vdev->dev, "this is no vcuda device: its magic is %#x\n",
			le32_to_cpu(config->magic));
		return -ENODEV;
	}
	if (le32_to_cpu(config->version) != VIRTIO_VCUDA_VERSION) {
		dev_err(&vd->vdev->dev, "the device speaks version %u, this driver version %u\n",
			le32_to_cpu(config->version), VIRTIO_VCUDA_VERSION);
		return -EPROTO;
	}
	if (le32_to_cpu(config->num_queues) <= VIRTIO_VCUDA_QUEUE_TRANSFER) {
		dev_err(&vd->vdev->dev, "the device has %u queues, which are too few\n",
			le32_to_cpu(config->num_queues));
		return -ENODEV;
	}
	return 0;
}

static int vcuda_read_config(struct vcuda_device *vd)
{
	struct virtio_vcuda_config config = {};
	int ret;

	if (!vcuda_is_native(vd->vdev)) {
		vd->num_queues = VIRTIO_VCUDA_QUEUE_TRANSFER + 1;
		return 0;
	}
	virtio_cread_bytes(vd->vdev, 0, &config, sizeof(config));
	ret = vcuda_check_config(vd, &config);
	if (ret)
		return ret;
	vd->num_queues = min_t(u32, le32_to_cpu(config.num_queues), VCUDA_MAX_QUEUES);
	return 0;
}

static struct vcuda_request *vcuda_hello_new(void)
{
	struct vcuda_request *req = vcuda_request_new(VIRTIO_VCUDA_OP_HELLO, NULL);

	if (!req)
		return NULL;
	req->answer_len = sizeof(struct virtio_vcuda_config);
	req->answer = kzalloc(req->answer_len, GFP_KERNEL);
	if (!req->answer) {
		vcuda_request_put(req);
		return NULL;
	}
	return req;
}

static int vcuda_hello(struct vcuda_device *vd)
{
	struct vcuda_request *req = vcuda_hello_new();
	long left;
	int ret;

	if (!req)
		return -ENOMEM;
	ret = vcuda_request_submit(vcuda_control_queue(vd), req);
	if (ret < 0)
		goto out;
	left = wait_for_completion_killable_timeout(&req->done, (timeout ?: 30) * HZ);
	if (left <= 0) {
		ret = left ? -EINTR : -ETIMEDOUT;
		if (!left)
			dev_err(&vd->vdev->dev, "the device does not answer\n");
		goto out;
	}
	ret = req->result;
	if (!ret && req->written < req->answer_len)
		ret = -EIO;
	if (ret)
		dev_err(&vd->vdev->dev, "the device did not understand the greeting: %d\n", ret);
	else
		ret = vcuda_check_config(vd, req->answer);
out:
	vcuda_request_put(req);
	return ret;
}

/*
 * Sizes chains and transfers so that a chain fits into the empty ring even if no table of indirect
 * descriptors can be had, and so that a whole transfer fits into the queues.
 */
static int vcuda_size_chains(struct vcuda_device *vd)
{
	unsigned int ring = UINT_MAX, chains, i;

	for (i = 0; i < vd->num_queues; i++)
		ring = min(ring, virtqueue_get_vring_size(vd->queues[i].vq));
	if (ring < VCUDA_MIN_RING) {
		dev_err(&vd->vdev->dev, "the device has queues of %u entries; %u are needed\n",
			ring, VCUDA_MIN_RING);
		return -ENODEV;
	}
	chains = vd->num_queues - VIRTIO_VCUDA_QUEUE_TRANSFER;
	if (virtio_has_feature(vd->vdev, VIRTIO_RING_F_INDIRECT_DESC)) {
		vd->max_segments = min_t(unsigned int, ring - 2, VIRTIO_VCUDA_MAX_SEGMENTS);
		chains *= ring / 2;
	} else {
		vd->max_segments = min_t(unsigned int, ring / 4 - 2, VIRTIO_VCUDA_MAX_SEGMENTS);
		chains *= 2;
	}
	/* One page less, as a transfer may begin and end within one. */
	vd->max_transfer = min_t(u64, ((u64)chains * vd->max_segments - 1) << PAGE_SHIFT,
				 VCUDA_MAX_TRANSFER);
	return 0;
}

/**
 * vcuda_device_stop() - take everything back from the device
 * @vd: the device, which may be stopped already
 */
void vcuda_device_stop(struct vcuda_device *vd)
{
	struct virtqueue *vqs[VCUDA_MAX_QUEUES];
	struct vcuda_session *session;
	unsigned long id;
	unsigned int i;
	LIST_HEAD(drained);

	mutex_lock(&vd->stop_lock);
	if (!vd->running) {
		mutex_unlock(&vd->stop_lock);
		return;
	}
	WRITE_ONCE(vd->running, false);
	for (i = 0; i < vd->num_queues; i++) {
		spin_lock_irq(&vd->queues[i].lock);
		vqs[i] = vd->queues[i].vq;
		vd->queues[i].vq = NULL;
		spin_unlock_irq(&vd->queues[i].lock);
	}
	/* Now nobody adds anything; wait for those who still notify. */
	synchronize_rcu();
	virtio_reset_device(vd->vdev);
	for (i = 0; i < vd->num_queues; i++) {
		if (i == VIRTIO_VCUDA_QUEUE_EVENT)
			while (virtqueue_detach_unused_buf(vqs[i]))
				;
		else
			vcuda_queue_drain(&vd->queues[i], vqs[i], &drained);
	}
	vd->vdev->config->del_vqs(vd->vdev);

	/* The device is out of the guest's memory. */
	vcuda_requests_fail(&drained);
	xa_lock(&vd->sessions);
	xa_for_each(&vd->sessions, id, session) {
		WRITE_ONCE(session->gone, true);
		wake_up_all(&session->wait);
	}
	xa_unlock(&vd->sessions);
	mutex_unlock(&vd->stop_lock);
}

/**
 * vcuda_device_start() - set up the queues and greet the device
 * @vd: a new device, or a stopped one that has been reset since
 *
 * Return: 0, or a negative errno, and the device is stopped.
 */
int vcuda_device_start(struct vcuda_device *vd)
{
	struct virtqueue *vqs[VCUDA_MAX_QUEUES];
	unsigned int i;
	int ret;

	ret = vcuda_read_config(vd);
	if (ret)
		return ret;
	mutex_lock(&vd->stop_lock);
	ret = vcuda_find_queues(vd, vqs);
	if (ret) {
		mutex_unlock(&vd->stop_lock);
		dev_err(&vd->vdev->dev, "the device's %u queues could not be set up: %d\n",
			vd->num_queues, ret);
		return ret;
	}
	for (i = 0; i < vd->num_queues; i++) {
		spin_lock_irq(&vd->queues[i].lock);
		vd->queues[i].vq = vqs[i];
		spin_unlock_irq(&vd->queues[i].lock);
	}
	atomic_set(&vd->unanswered, 0);
	WRITE_ONCE(vd->running, true);
	mutex_unlock(&vd->stop_lock);

	virtio_device_ready(vd->vdev);
	ret = vcuda_size_chains(vd);
	if (!ret)
		ret = vcuda_events_post(vd);
	if (!ret)
		ret = vcuda_hello(vd);
	if (ret)
		vcuda_device_stop(vd);
	return ret;
}

static void vcuda_fail_work(struct work_struct *work)
{
	struct vcuda_device *vd = container_of(work, struct vcuda_device, fail_work);

	dev_err(&vd->dev, "the device is broken; its sessions end\n");
	vcuda_device_stop(vd);
}

/**
 * vcuda_device_fail() - the device has broken the rules of virtio
 * @vd: the device
 *
 * Stops it soon. In any context.
 */
void vcuda_device_fail(struct vcuda_device *vd)
{
	queue_work(vcuda_wq, &vd->fail_work);
}

static void vcuda_hello_done(struct vcuda_request *req)
{
	struct vcuda_device *vd = req->owner;

	atomic_set(&vd->unanswered, 0);
}

/*
 * Nothing tells a guest that the process which serves the device has died. So as long as there are
 * sessions the device is greeted now and then, and if it does not answer it is stopped, which ends
 * all waits.
 */
static void vcuda_watchdog(struct work_struct *work)
{
	struct vcuda_device *vd = container_of(work, struct vcuda_device, watchdog.work);
	unsigned int limit = READ_ONCE(timeout);
	struct vcuda_request *req;
	struct virtqueue *vq;
	unsigned int i;

	for (i = 0; i < vd->num_queues; i++) {
		spin_lock_irq(&vd->queues[i].lock);
		vq = vd->queues[i].vq;
		if (vq && virtqueue_is_broken(vq))
			vcuda_device_fail(vd);
		spin_unlock_irq(&vd->queues[i].lock);
	}
	if (!READ_ONCE(vd->running) || !atomic64_read(&vd->open_sessions))
		return;
	if (atomic_read(&vd->unanswered)) {
		if (limit && time_after(jiffies, vd->asked + limit * HZ)) {
			dev_err(&vd->dev, "the device has not answered for %u seconds\n", limit);
			vcuda_device_fail(vd);
			return;
		}
	} else {
		req = vcuda_hello_new();
		if (req) {
			req->owner = vd;
			req->on_done = vcuda_hello_done;
			vd->asked = jiffies;
			atomic_set(&vd->unanswered, 1);
			if (vcuda_request_submit(vcuda_control_queue(vd), req) < 0)
				atomic_set(&vd->unanswered, 0);
			vcuda_request_put(req);
		}
	}
	queue_delayed_work(vcuda_wq, &vd->watchdog, VCUDA_WATCH_INTERVAL);
}

/**
 * vcuda_device_watch() - there is a session: watch the device
 * @vd: the device
 */
void vcuda_device_watch(struct vcuda_device *vd)
{
	/* A device that is stopped may be about to be freed. */
	if (mutex_lock_killable(&vd->stop_lock))
		return;
	if (vd->running)
		queue_delayed_work(vcuda_wq, &vd->watchdog, VCUDA_WATCH_INTERVAL);
	mutex_unlock(&vd->stop_lock);
}

/* Of a zeroed device. */
void vcuda_device_init(struct vcuda_device *vd)
{
	unsigned int i;

	mutex_init(&vd->stop_lock);
	mutex_init(&vd->transfer_lock);
	xa_init(&vd->sessions);
	INIT_WORK(&vd->fail_work, vcuda_fail_work);
	INIT_DELAYED_WORK(&vd->watchdog, vcuda_watchdog);
	for (i = 0; i < VCUDA_MAX_QUEUES; i++)
		vcuda_queue_init(&vd->queues[i], vd);
}

/**
 * vcuda_device_shut() - stop a device for good
 * @vd: the device, of which only the memory is left, which open files keep
 */
void vcuda_device_shut(struct vcuda_device *vd)
{
	unsigned int i;

	vcuda_device_stop(vd);
	cancel_delayed_work_sync(&vd->watchdog);
	for (i = 0; i < VCUDA_MAX_QUEUES; i++)
		cancel_delayed_work_sync(&vd->queues[i].retry);
	/* Last, as the others may have queued it. */
	cancel_work_sync(&vd->fail_work);
}
