// SPDX-License-Identifier: MIT OR Apache-2.0
//! Access of one device to the memory of another (CUDA Runtime API, "Peer Device Memory Access").
//! Copies need none: the addresses say whose memory is meant.

use vcuda_protocol::{Command, Reply};

use crate::contexts::{self, Device, unexpected};
use crate::{Result, error, session};

/// `CU_DEVICE_P2P_ATTRIBUTE_ACCESS_SUPPORTED`
const ACCESS_SUPPORTED: u32 = 2;
/// `CU_DEVICE_P2P_ATTRIBUTE_ONLY_PARTIAL_NATIVE_ATOMIC_SUPPORTED`
const LAST_ATTRIBUTE: u32 = 5;

/// A `CUdevice_P2PAttribute` of two devices, the first of which uses the other's memory.
pub(crate) fn attribute(device: &Device, peer: &Device, attribute: u32) -> Result<u32> {
    if !(1..=LAST_ATTRIBUTE).contains(&attribute) {
        return Err(error::INVALID_VALUE);
    }
    if device.ordinal == peer.ordinal {
        return Err(error::INVALID_DEVICE);
    }
    let command = Command::PeerAttribute {
        device: device.wire,
        peer: peer.wire,
        attribute,
    };
    match session::get()?.call(&command)? {
        Reply::Count(value) => Ok(value),
        other => Err(unexpected("PeerAttribute", &other)),
    }
}

/// Whether kernels of a device could use another's memory. Of its own there is nothing to ask.
pub(crate) fn can_access(device: &Device, peer: &Device) -> Result<bool> {
    match device.ordinal == peer.ordinal {
        true => Ok(false),
        false => Ok(attribute(device, peer, ACCESS_SUPPORTED)? != 0),
    }
}

/// Lets kernels of a device use a peer's memory.
pub(crate) fn enable(device: &Device, peer: &Device) -> Result<()> {
    if !can_access(device, peer)? {
        return Err(error::PEER_ACCESS_UNSUPPORTED);
    }
    let mut state = device.state.lock();
    let bit = bit(peer);
    if state.peers & bit != 0 {
        return Err(error::PEER_ACCESS_ALREADY_ENABLED);
    }
    tell(device, peer, true)?;
    state.peers |= bit;
    Ok(())
}

pub(crate) fn disable(device: &Device, peer: &Device) -> Result<()> {
    let mut state = device.state.lock();
    let bit = bit(peer);
    if state.peers & bit == 0 {
        return Err(error::PEER_ACCESS_NOT_ENABLED);
    }
    tell(device, peer, false)?;
    state.peers &= !bit;
    Ok(())
}

/// Whether kernels of a device may use a peer's memory.
pub(crate) fn is_enabled(wire: u32, peer: &Device) -> bool {
    let devices = contexts::devices().unwrap_or_default();
    let mut devices = devices.iter().filter(|device| device.wire == wire);
    devices.any(|device| device.state.lock().peers & bit(peer) != 0)
}

/// The device was reset: others have no access to its memory any more. What it had is in its state.
pub(crate) fn forget(device: &Device) -> Result<()> {
    for other in contexts::devices()? {
        other.state.lock().peers &= !bit(device);
    }
    Ok(())
}

fn bit(peer: &Device) -> u32 {
    1 << peer.ordinal
}

fn tell(device: &Device, peer: &Device, enabled: bool) -> Result<()> {
    let command = Command::PeerAccess {
        device: device.wire,
        peer: peer.wire,
        enabled,
    };
    session::get()?.call(&command).map(drop)
}
