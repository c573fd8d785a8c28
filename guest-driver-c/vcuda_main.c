// SPDX-License-Identifier: GPL-2.0
/*
 * The virtio device: finding and believing it, its queues, its end; and the module.
 *
 * A device is started (vcuda_start()) and stopped (vcuda_stop()). It is stopped when it is
 * removed, when it breaks or asks for a reset, when it no longer answers, and before the system
 * sleeps. Once it is stopped it touches no memory of the guest; every request that it had is done
 * with ENODEV, and every session is gone. Open files stay, and get errors, until they are closed.
 */
#include <linux/idr.h>
#include <linux/module.h>
#include <linux/sched.h>
#include <linux/slab.h>
#include <linux/version.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>

#include "vcuda.h"

#define VCUDA_MINORS		16
/* The largest chain of a control request is four descriptors; a transfer's needs room for pages. */
#define VCUDA_MIN_RING		16
#define VCUDA_WATCH_INTERVAL	HZ

static unsigned int altid;
module_param(altid, uint, 0444);
MODULE_PARM_DESC(altid, "virtio ID of a device that stands in for a vcuda device, e.g. 26; 0: none");

unsigned int vcuda_max_memory;
module_param_named(max_memory, vcuda_max_memory, uint, 0644);
MODULE_PARM_DESC(max_memory, "most MiB that a session may create, register and transfer at once; 0: half of all memory");

static unsigned int timeout = 30;
module_param(timeout, uint, 0644);
MODULE_PARM_DESC(timeout, "seconds without an answer after which the device counts as dead; 0: never");

struct workqueue_struct *vcuda_wq;

static struct class vcuda_class = {
	.name = "vcuda",
};

static dev_t vcuda_devt;
static DEFINE_IDA(vcuda_minors);

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

/* A stand-in device has its own configuration: what is said there is checked by HELLO alone. */
static bool vcuda_is_native(struct virtio_device *vdev)
{
	return vdev->id.device == VIRTIO_ID_VCUDA;
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

static void vcuda_stop(struct vcuda_device *vd)
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
	vcuda_requests_fail(vd, &drained);
	xa_lock(&vd->sessions);
	xa_for_each(&vd->sessions, id, session) {
		WRITE_ONCE(session->gone, true);
		wake_up_all(&session->wait);
	}
	xa_unlock(&vd->sessions);
	mutex_unlock(&vd->stop_lock);
}

static int vcuda_start(struct vcuda_device *vd)
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
		vcuda_stop(vd);
	return ret;
}

static void vcuda_fail_work(struct work_struct *work)
{
	struct vcuda_device *vd = container_of(work, struct vcuda_device, fail_work);

	dev_err(&vd->dev, "the device is broken; its sessions end\n");
	vcuda_stop(vd);
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
 * vcuda_watch() - there is a session: watch the device
 * @vd: the device
 */
void vcuda_watch(struct vcuda_device *vd)
{
	/* A device that is stopped may be about to be freed. */
	mutex_lock(&vd->stop_lock);
	if (vd->running)
		queue_delayed_work(vcuda_wq, &vd->watchdog, VCUDA_WATCH_INTERVAL);
	mutex_unlock(&vd->stop_lock);
}

/* The virtio driver */

static int vcuda_validate(struct virtio_device *vdev)
{
	if (!virtio_has_feature(vdev, VIRTIO_F_VERSION_1)) {
		dev_err(&vdev->dev, "a legacy device (without VIRTIO_F_VERSION_1) is not supported\n");
		return -ENODEV;
	}
	/* Memory is told to the device by its guest-physical address. */
	if (virtio_has_feature(vdev, VIRTIO_F_ACCESS_PLATFORM)) {
		dev_err(&vdev->dev, "a device behind an IOMMU (VIRTIO_F_ACCESS_PLATFORM) is not supported\n");
		return -ENODEV;
	}
	if (vcuda_is_native(vdev) && !vdev->config->get) {
		dev_err(&vdev->dev, "the device's configuration space cannot be read\n");
		return -ENODEV;
	}
	return 0;
}

static void vcuda_device_release(struct device *dev)
{
	struct vcuda_device *vd = container_of(dev, struct vcuda_device, dev);

	xa_destroy(&vd->sessions);
	kfree(vd->events);
	kfree(vd);
}

static struct vcuda_device *vcuda_device_new(struct virtio_device *vdev)
{
	struct vcuda_device *vd;
	unsigned int i;
	int minor;

	vd = kzalloc(sizeof(*vd), GFP_KERNEL);
	if (!vd)
		return ERR_PTR(-ENOMEM);
	vd->events = kcalloc(VCUDA_EVENTS, sizeof(*vd->events), GFP_KERNEL);
	if (!vd->events) {
		kfree(vd);
		return ERR_PTR(-ENOMEM);
	}
	minor = ida_alloc_max(&vcuda_minors, VCUDA_MINORS - 1, GFP_KERNEL);
	if (minor < 0) {
		kfree(vd->events);
		kfree(vd);
		return ERR_PTR(minor);
	}
	vd->vdev = vdev;
	mutex_init(&vd->stop_lock);
	mutex_init(&vd->transfer_lock);
	xa_init(&vd->sessions);
	INIT_WORK(&vd->fail_work, vcuda_fail_work);
	INIT_DELAYED_WORK(&vd->watchdog, vcuda_watchdog);
	for (i = 0; i < VCUDA_MAX_QUEUES; i++)
		vcuda_queue_init(&vd->queues[i], vd);

	device_initialize(&vd->dev);
	vd->dev.class = &vcuda_class;
	vd->dev.parent = &vdev->dev;
	vd->dev.devt = MKDEV(MAJOR(vcuda_devt), minor);
	vd->dev.release = vcuda_device_release;
	return vd;
}

/* Ends everything but the memory of @vd, which open files keep. */
static void vcuda_shut(struct vcuda_device *vd)
{
	unsigned int i;

	vcuda_stop(vd);
	cancel_delayed_work_sync(&vd->watchdog);
	for (i = 0; i < VCUDA_MAX_QUEUES; i++)
		cancel_delayed_work_sync(&vd->queues[i].retry);
	cancel_work_sync(&vd->fail_work);
	/* The next device may have the name, whoever still has this one's file open. */
	ida_free(&vcuda_minors, MINOR(vd->dev.devt));
}

static int vcuda_probe(struct virtio_device *vdev)
{
	struct vcuda_device *vd;
	int ret;

	vd = vcuda_device_new(vdev);
	if (IS_ERR(vd))
		return PTR_ERR(vd);
	vdev->priv = vd;
	if (MINOR(vd->dev.devt))
		ret = dev_set_name(&vd->dev, "vcuda%u", MINOR(vd->dev.devt));
	else
		ret = dev_set_name(&vd->dev, "vcuda");
	if (ret)
		goto err_shut;
	ret = vcuda_start(vd);
	if (ret)
		goto err_shut;
	cdev_init(&vd->cdev, &vcuda_fops);
	vd->cdev.owner = THIS_MODULE;
	ret = cdev_device_add(&vd->cdev, &vd->dev);
	if (ret)
		goto err_shut;
	return 0;

err_shut:
	vcuda_shut(vd);
	put_device(&vd->dev);
	return ret;
}

static void vcuda_remove(struct virtio_device *vdev)
{
	struct vcuda_device *vd = vdev->priv;

	cdev_device_del(&vd->cdev, &vd->dev);
	vcuda_shut(vd);
	put_device(&vd->dev);
}

/* Another reading of the device's status says why. */
static void vcuda_config_changed(struct virtio_device *vdev)
{
	struct vcuda_device *vd = vdev->priv;

	if (vdev->config->get_status(vdev) & VIRTIO_CONFIG_S_NEEDS_RESET)
		vcuda_device_fail(vd);
}

#ifdef CONFIG_PM_SLEEP
/* What the host holds of a session does not survive; a program that continues gets ENODEV. */
static int vcuda_freeze(struct virtio_device *vdev)
{
	vcuda_stop(vdev->priv);
	return 0;
}

static int vcuda_restore(struct virtio_device *vdev)
{
	return vcuda_start(vdev->priv);
}
#endif

/* The second is filled in from the parameter; as long as it is 0 the list ends there. */
static struct virtio_device_id vcuda_ids[] = {
	{ VIRTIO_ID_VCUDA, VIRTIO_DEV_ANY_ID },
	{ 0, VIRTIO_DEV_ANY_ID },
	{ 0 },
};
MODULE_DEVICE_TABLE(virtio, vcuda_ids);

static struct virtio_driver vcuda_driver = {
	.driver.name = KBUILD_MODNAME,
	.driver.owner = THIS_MODULE,
	.id_table = vcuda_ids,
	.validate = vcuda_validate,
	.probe = vcuda_probe,
	.remove = vcuda_remove,
	.config_changed = vcuda_config_changed,
#ifdef CONFIG_PM_SLEEP
	.freeze = vcuda_freeze,
	.restore = vcuda_restore,
#endif
};

static int __init vcuda_init(void)
{
	int ret;

	vcuda_ids[1].device = altid;
	vcuda_wq = alloc_workqueue("vcuda", WQ_UNBOUND, 0);
	if (!vcuda_wq)
		return -ENOMEM;
	ret = alloc_chrdev_region(&vcuda_devt, 0, VCUDA_MINORS, "vcuda");
	if (ret)
		goto err_wq;
	ret = class_register(&vcuda_class);
	if (ret)
		goto err_region;
	ret = register_virtio_driver(&vcuda_driver);
	if (ret)
		goto err_class;
	return 0;

err_class:
	class_unregister(&vcuda_class);
err_region:
	unregister_chrdev_region(vcuda_devt, VCUDA_MINORS);
err_wq:
	destroy_workqueue(vcuda_wq);
	return ret;
}

static void __exit vcuda_exit(void)
{
	unregister_virtio_driver(&vcuda_driver);
	/* Sessions that were closed but not answered have been failed, and are freed by now. */
	destroy_workqueue(vcuda_wq);
	class_unregister(&vcuda_class);
	unregister_chrdev_region(vcuda_devt, VCUDA_MINORS);
}

module_init(vcuda_init);
module_exit(vcuda_exit);

MODULE_DESCRIPTION("CUDA sessions on a virtio device");
MODULE_AUTHOR("The vcuda authors");
MODULE_LICENSE("GPL");
MODULE_VERSION("0.1.0");
