// SPDX-License-Identifier: GPL-2.0
/*
 * A session: an open file of /dev/vcuda.
 *
 * Closing the file sends SESSION_CLOSE and returns at once: the session lives on, with all its
 * memory, until the device has answered or is stopped. So a device that never answers holds up
 * neither close() nor the end of a killed process, and never sees memory that is in use again.
 */
#include <linux/compat.h>
#include <linux/fs.h>
#include <linux/highmem.h>
#include <linux/mm.h>
#include <linux/moduleparam.h>
#include <linux/poll.h>
#include <linux/sched.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "vcuda.h"

static unsigned int max_memory;
module_param(max_memory, uint, 0644);
MODULE_PARM_DESC(max_memory, "most MiB that a session may create, register and transfer at once; 0: half of all memory");

static void vcuda_session_release(struct kref *ref)
{
	struct vcuda_session *session = container_of(ref, struct vcuda_session, ref);
	struct vcuda_device *vd = session->vd;

	if (session->close)
		vcuda_request_put(session->close);
	xa_destroy(&session->memories);
	xa_destroy(&session->maps);
	xa_destroy(&session->transfers);
	mmdrop(session->mm);
	atomic64_dec(&vd->open_sessions);
	kfree_rcu(session, rcu);
	put_device(&vd->dev);
}

/* May sleep. */
void vcuda_session_put(struct vcuda_session *session)
{
	kref_put(&session->ref, vcuda_session_release);
}

static u64 vcuda_session_max_memory(void)
{
	u64 mib = READ_ONCE(max_memory);

	return mib ? mib << 20 : (u64)totalram_pages() << (PAGE_SHIFT - 1);
}

/**
 * vcuda_session_charge() - count memory to a session
 * @session: the session
 * @len: bytes
 *
 * Return: 0, or -ENOMEM if the session would have more than it may.
 */
int vcuda_session_charge(struct vcuda_session *session, u64 len)
{
	u64 max = vcuda_session_max_memory();

	if (len > max)
		return -ENOMEM;
	if (atomic64_add_return(len, &session->bytes) > max) {
		vcuda_session_uncharge(session, len);
		return -ENOMEM;
	}
	return 0;
}

void vcuda_session_uncharge(struct vcuda_session *session, u64 len)
{
	atomic64_sub(len, &session->bytes);
}

/**
 * vcuda_session_event() - the device says that something has happened
 * @vd: the device
 * @id: to which session; there may be none of that name (any more)
 * @kind: VIRTIO_VCUDA_EVENT_*; others mean nothing to this driver
 *
 * In any context.
 */
void vcuda_session_event(struct vcuda_device *vd, u32 id, u32 kind)
{
	struct vcuda_session *session;

	if (kind != VIRTIO_VCUDA_EVENT_WAKE && kind != VIRTIO_VCUDA_EVENT_ENDED)
		return;
	rcu_read_lock();
	session = xa_load(&vd->sessions, id);
	if (session) {
		if (kind == VIRTIO_VCUDA_EVENT_ENDED)
			WRITE_ONCE(session->ended, true);
		atomic_inc(&session->wakes);
		wake_up_all(&session->wait);
	}
	rcu_read_unlock();
}

/* Return: what requests of the session fail with by now, or 0. */
int vcuda_session_error(struct vcuda_session *session)
{
	if (READ_ONCE(session->gone))
		return -ENODEV;
	if (READ_ONCE(session->ended))
		return -EPIPE;
	return 0;
}

/* The device holds nothing of the session any more. */
static void vcuda_session_free(struct vcuda_session *session)
{
	vcuda_transfers_free(session);
	vcuda_memories_free(session);
	vcuda_session_put(session);
}

static void vcuda_session_closed(struct vcuda_request *req)
{
	struct vcuda_session *session = req->owner;

	queue_work(vcuda_wq, &session->work);
}

/* Takes the file's reference. May sleep, but waits for no answer. */
static void vcuda_session_close(struct vcuda_session *session)
{
	struct vcuda_device *vd = session->vd;
	struct vcuda_request *req = session->close;

	xa_cmpxchg(&vd->sessions, session->id, session, NULL, 0);
	session->close = NULL;
	req->owner = session;
	req->on_done = vcuda_session_closed;
	req->header.session = cpu_to_le32(session->id);
	if (vcuda_request_submit(vcuda_control_queue(vd), req) < 0)
		vcuda_session_free(session);
	vcuda_request_put(req);
}

static void vcuda_session_work(struct work_struct *work)
{
	struct vcuda_session *session = container_of(work, struct vcuda_session, work);

	/* After the answer to an abandoned request to open, the session is still to be closed. */
	if (session->close && session->opened)
		vcuda_session_close(session);
	else
		vcuda_session_free(session);
}

static void vcuda_session_opened(struct vcuda_request *req)
{
	struct vcuda_session *session = req->owner;
	unsigned long flags;
	bool abandoned;

	spin_lock_irqsave(&session->lock, flags);
	session->id = le32_to_cpu(READ_ONCE(req->response.session));
	session->opened = !req->result;
	abandoned = session->abandoned;
	session->opening = false;
	spin_unlock_irqrestore(&session->lock, flags);
	if (abandoned)
		queue_work(vcuda_wq, &session->work);
}

static struct vcuda_session *vcuda_session_new(struct vcuda_device *vd)
{
	struct vcuda_session *session = kzalloc(sizeof(*session), GFP_KERNEL_ACCOUNT);

	if (!session)
		return NULL;
	session->close = vcuda_request_new(VIRTIO_VCUDA_OP_SESSION_CLOSE, NULL);
	if (!session->close) {
		kfree(session);
		return NULL;
	}
	kref_init(&session->ref);
	init_waitqueue_head(&session->wait);
	spin_lock_init(&session->lock);
	INIT_WORK(&session->work, vcuda_session_work);
	xa_init_flags(&session->memories, XA_FLAGS_ACCOUNT);
	xa_init_flags(&session->maps, XA_FLAGS_ALLOC | XA_FLAGS_ACCOUNT);
	xa_init_flags(&session->transfers, XA_FLAGS_ACCOUNT);
	session->vd = vd;
	get_device(&vd->dev);
	session->mm = current->mm;
	mmgrab(session->mm);
	atomic64_inc(&vd->open_sessions);
	return session;
}

/*
 * Return: 0, or a negative errno if the session is not open. @abandoned then says that the answer
 * is still to come, and takes the reference.
 */
static int vcuda_session_ask(struct vcuda_session *session, bool *abandoned)
{
	struct vcuda_request *req = vcuda_request_new(VIRTIO_VCUDA_OP_SESSION_OPEN, NULL);
	int ret;

	if (!req)
		return -ENOMEM;
	req->header.id = cpu_to_le64(task_tgid_nr(current));
	req->owner = session;
	req->on_done = vcuda_session_opened;
	session->opening = true;
	ret = vcuda_control(session->vd, req);
	if (ret == -EINTR) {
		spin_lock_irq(&session->lock);
		session->abandoned = session->opening;
		*abandoned = session->abandoned;
		spin_unlock_irq(&session->lock);
	}
	vcuda_request_put(req);
	return ret;
}

static int vcuda_open(struct inode *inode, struct file *file)
{
	struct vcuda_device *vd = container_of(inode->i_cdev, struct vcuda_device, cdev);
	struct vcuda_session *session;
	bool abandoned = false;
	int ret;

	session = vcuda_session_new(vd);
	if (!session)
		return -ENOMEM;
	vcuda_device_watch(vd);
	ret = vcuda_session_ask(session, &abandoned);
	if (abandoned)
		return ret;
	if (!ret) {
		ret = xa_insert(&vd->sessions, session->id, session, GFP_KERNEL);
		if (ret == -EBUSY) {
			dev_err(&vd->dev, "the device opened session %u twice\n", session->id);
			vcuda_session_put(session);
			return -EIO;
		}
	}
	if (ret) {
		if (session->opened)
			vcuda_session_close(session);
		else
			vcuda_session_put(session);
		return ret;
	}
	/* Either this sees that the device has been stopped, or stopping it sees the session. */
	if (!READ_ONCE(vd->running))
		WRITE_ONCE(session->gone, true);
	file->private_data = session;
	return nonseekable_open(inode, file);
}

static int vcuda_release(struct inode *inode, struct file *file)
{
	vcuda_session_close(file->private_data);
	return 0;
}

static int vcuda_ioctl_info(struct vcuda_session *session, void __user *arg)
{
	struct vcuda_info info = {
		.version = VCUDA_UAPI_VERSION,
		.session = session->id,
		.max_memory = vcuda_session_max_memory(),
		.max_transfer = session->vd->max_transfer,
	};

	return copy_to_user(arg, &info, sizeof(info)) ? -EFAULT : 0;
}

static int vcuda_ioctl_statistics(struct vcuda_session *session, void __user *arg)
{
	struct vcuda_device *vd = session->vd;
	struct vcuda_statistics statistics = {
		.requests = atomic64_read(&vd->requests),
		.kicks = atomic64_read(&vd->kicks),
		.events = atomic64_read(&vd->received),
		.sleeps = atomic64_read(&vd->sleeps),
		.bytes_transferred = atomic64_read(&vd->bytes_transferred),
		/* Transfers go by their pages: nothing here copies bulk data. */
		.bytes_copied = 0,
		.pages_pinned = atomic64_read(&vd->pages_pinned),
		.sessions = atomic64_read(&vd->open_sessions),
	};

	return copy_to_user(arg, &statistics, sizeof(statistics)) ? -EFAULT : 0;
}

static int vcuda_ioctl_start(struct vcuda_session *session, void __user *arg)
{
	struct vcuda_request *req;
	struct vcuda_start start;
	u64 len;
	int ret;

	if (copy_from_user(&start, arg, sizeof(start)))
		return -EFAULT;
	if (!start.greeting_len || start.greeting_len > VIRTIO_VCUDA_MAX_GREETING ||
	    !start.answer_len || start.answer_len > VIRTIO_VCUDA_MAX_GREETING ||
	    start.reserved[0] || start.reserved[1])
		return -EINVAL;

	req = vcuda_request_new(VIRTIO_VCUDA_OP_START, session);
	if (!req)
		return -ENOMEM;
	req->payload = memdup_user(u64_to_user_ptr(start.greeting), start.greeting_len);
	if (IS_ERR(req->payload)) {
		ret = PTR_ERR(req->payload);
		req->payload = NULL;
		goto out;
	}
	req->payload_len = start.greeting_len;
	req->header.len = cpu_to_le64(start.greeting_len);
	req->answer = kzalloc(start.answer_len, GFP_KERNEL_ACCOUNT);
	if (!req->answer) {
		ret = -ENOMEM;
		goto out;
	}
	req->answer_len = start.answer_len;
	ret = vcuda_control(session->vd, req);
	if (ret)
		goto out;

	len = le64_to_cpu(READ_ONCE(req->response.value));
	if (len > req->written) {
		ret = -EIO;
		goto out;
	}
	start.answer_len = len;
	if (copy_to_user(u64_to_user_ptr(start.answer), req->answer, len) ||
	    copy_to_user(arg, &start, sizeof(start)))
		ret = -EFAULT;
out:
	vcuda_request_put(req);
	return ret;
}

static u32 vcuda_control_word(struct vcuda_mem *control, u32 offset)
{
	void *page = kmap_local_page(control->pages[offset >> PAGE_SHIFT]);
	u32 word = READ_ONCE(*(u32 *)(page + offset_in_page(offset)));

	kunmap_local(page);
	return word;
}

static bool vcuda_is_awake(struct vcuda_session *session, struct vcuda_mem *control,
			   const struct vcuda_wait *wait, int wakes)
{
	return vcuda_control_word(control, wait->offset) != wait->expected ||
	       atomic_read(&session->wakes) != wakes || vcuda_session_error(session);
}

static int vcuda_ioctl_wait(struct vcuda_session *session, void __user *arg)
{
	int wakes = atomic_read(&session->wakes);
	struct vcuda_mem *control;
	struct vcuda_wait wait;
	int ret = 0;

	if (copy_from_user(&wait, arg, sizeof(wait)))
		return -EFAULT;
	control = vcuda_memory_control(session);
	if (!control)
		return vcuda_session_error(session) ?: -EINVAL;
	if (!IS_ALIGNED(wait.offset, sizeof(u32)) || wait.offset >= control->len) {
		ret = -EINVAL;
		goto out;
	}
	/* What the worker wrote before it ended counts: hence the word first. */
	if (vcuda_control_word(control, wait.offset) != wait.expected)
		goto out;
	ret = vcuda_session_error(session);
	if (ret)
		goto out;
	atomic64_inc(&session->vd->sleeps);
	ret = wait_event_interruptible_hrtimeout(session->wait,
						 vcuda_is_awake(session, control, &wait, wakes),
						 min_t(u64, wait.timeout_ns, KTIME_MAX));
	if (ret == -ERESTARTSYS)
		ret = -EINTR;
	else if (ret == -ETIME)
		ret = -ETIMEDOUT;
	else if (vcuda_control_word(control, wait.offset) == wait.expected)
		ret = vcuda_session_error(session);
out:
	vcuda_memory_put(control);
	return ret;
}

/* The doorbell: returns when the device can hear it, which is nearly always at once. */
static int vcuda_ioctl_kick(struct vcuda_session *session)
{
	struct vcuda_request *req = vcuda_request_new(VIRTIO_VCUDA_OP_KICK, session);
	int ret;

	if (!req)
		return -ENOMEM;
	atomic64_inc(&session->vd->kicks);
	ret = vcuda_request_submit(vcuda_control_queue(session->vd), req);
	if (!ret) /* No room: do not let kicks pile up. */
		ret = vcuda_request_wait(req);
	vcuda_request_put(req);
	return min(ret, 0);
}

static long vcuda_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	struct vcuda_session *session = file->private_data;
	void __user *argp = (void __user *)arg;
	int ret;

	/* A child of fork() must not disturb its parent's session, nor pin its own pages for it. */
	if (current->mm != session->mm)
		return -EPERM;

	switch (cmd) {
	case VCUDA_IOC_INFO:
		return READ_ONCE(session->gone) ? -ENODEV : vcuda_ioctl_info(session, argp);
	case VCUDA_IOC_STATISTICS:
		return READ_ONCE(session->gone) ? -ENODEV : vcuda_ioctl_statistics(session, argp);
	/* These take back what the device has, which works in any state. */
	case VCUDA_IOC_MEMORY_DESTROY:
		return vcuda_memory_destroy(session, argp);
	case VCUDA_IOC_TRANSFER_WAIT:
		return vcuda_transfer_wait(session, argp);
	case VCUDA_IOC_WAIT:
		return vcuda_ioctl_wait(session, argp);
	}

	ret = vcuda_session_error(session);
	switch (cmd) {
	case VCUDA_IOC_START:
		return ret ?: vcuda_ioctl_start(session, argp);
	case VCUDA_IOC_MEMORY_CREATE:
		return ret ?: vcuda_memory_create(session, argp);
	case VCUDA_IOC_MEMORY_REGISTER:
		return ret ?: vcuda_memory_register(session, argp);
	case VCUDA_IOC_TRANSFER_SUBMIT:
		return ret ?: vcuda_transfer_submit(session, argp);
	case VCUDA_IOC_KICK:
		return ret ?: vcuda_ioctl_kick(session);
	default:
		return -ENOTTY;
	}
}

static int vcuda_mmap(struct file *file, struct vm_area_struct *vma)
{
	struct vcuda_session *session = file->private_data;

	if (current->mm != session->mm)
		return -EPERM;
	return vcuda_memory_mmap(session, vma);
}

static __poll_t vcuda_poll(struct file *file, poll_table *wait)
{
	struct vcuda_session *session = file->private_data;

	poll_wait(file, &session->wait, wait);
	return vcuda_session_error(session) ? EPOLLHUP : 0;
}

const struct file_operations vcuda_fops = {
	.owner = THIS_MODULE,
	.open = vcuda_open,
	.release = vcuda_release,
	.unlocked_ioctl = vcuda_ioctl,
	.compat_ioctl = compat_ptr_ioctl,
	.mmap = vcuda_mmap,
	.poll = vcuda_poll,
};
