// SPDX-License-Identifier: GPL-2.0
/*
 * The module, and the virtio driver: which devices are taken, and their names in /dev.
 */
#include <linux/idr.h>
#include <linux/module.h>
#include <linux/slab.h>
#include <linux/virtio_config.h>

#include "vcuda.h"

#define VCUDA_MINORS		16

static unsigned int altid;
module_param(altid, uint, 0444);
MODULE_PARM_DESC(altid, "virtio ID of a device that stands in for a vcuda device, e.g. 26; 0: none");

struct workqueue_struct *vcuda_wq;

static struct class vcuda_class = {
	.name = "vcuda",
};

static dev_t vcuda_devt;
static DEFINE_IDA(vcuda_minors);

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
	vcuda_device_init(vd);

	device_initialize(&vd->dev);
	vd->dev.class = &vcuda_class;
	vd->dev.parent = &vdev->dev;
	vd->dev.devt = MKDEV(MAJOR(vcuda_devt), minor);
	vd->dev.release = vcuda_device_release;
	return vd;
}

static void vcuda_device_end(struct vcuda_device *vd)
{
	vcuda_device_shut(vd);
	/* The next device may have the name, whoever still has this one's file open. */
	ida_free(&vcuda_minors, MINOR(vd->dev.devt));
	put_device(&vd->dev);
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
	ret = vcuda_device_start(vd);
	if (ret)
		goto err_shut;
	cdev_init(&vd->cdev, &vcuda_fops);
	vd->cdev.owner = THIS_MODULE;
	ret = cdev_device_add(&vd->cdev, &vd->dev);
	if (ret)
		goto err_shut;
	return 0;

err_shut:
	vcuda_device_end(vd);
	return ret;
}

static void vcuda_remove(struct virtio_device *vdev)
{
	struct vcuda_device *vd = vdev->priv;

	cdev_device_del(&vd->cdev, &vd->dev);
	vcuda_device_end(vd);
}

/* The status tells whether the device has given up. */
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
	vcuda_device_stop(vdev->priv);
	return 0;
}

static int vcuda_restore(struct virtio_device *vdev)
{
	return vcuda_device_start(vdev->priv);
}
#endif

/* For which the module is loaded. */
static const struct virtio_device_id vcuda_ids[] = {
	{ VIRTIO_ID_VCUDA, VIRTIO_DEV_ANY_ID },
	{ 0 },
};
MODULE_DEVICE_TABLE(virtio, vcuda_ids);

/* Which it takes: the second is filled in from the parameter, and as long as it is 0 ends the list. */
static struct virtio_device_id vcuda_taken[] = {
	{ VIRTIO_ID_VCUDA, VIRTIO_DEV_ANY_ID },
	{ 0, VIRTIO_DEV_ANY_ID },
	{ 0 },
};

static struct virtio_driver vcuda_driver = {
	.driver.name = KBUILD_MODNAME,
	.driver.owner = THIS_MODULE,
	.id_table = vcuda_taken,
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

	vcuda_taken[1].device = altid;
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
