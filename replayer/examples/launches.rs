// SPDX-License-Identifier: MIT OR Apache-2.0
//! Measures how fast a session on the CPU device takes launches: the time of an empty launch with
//! a synchronization, and the rate of asynchronous launches.

use std::sync::Arc;
use std::time::Instant;

use vcuda_protocol::shared::SharedMemory;
use vcuda_protocol::*;
use vcuda_replayer::devices::cpu::{CpuDevice, CpuOptions};
use vcuda_replayer::{Answers, Session, Window};

const PTX: &[u8] = b".version 8.0\n.target sm_80\n.address_size 64\n\
    .visible .entry nothing() { ret; }\n";
const STREAM: Stream = Stream { device: 0, id: 0 };

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let window = Window {
        base: 0x2000_0000_0000,
        memory: SharedMemory::anonymous(4096),
        backing: None,
    };
    let devices = CpuDevice::create(CpuOptions::default(), Some(&window))?;
    let answers = Answers::new();
    let mut session = Session::new(devices, window, Arc::clone(&answers) as _, None);
    let mut sequence = 0;
    let mut send = |command: Command, slot: Option<u16>| {
        sequence += 1;
        let header = Header {
            sequence,
            api: 1,
            thread: 1,
            time: 0,
            slot,
        };
        session.execute(&header, command);
    };
    let image = Image::Inline(Bytes(PTX.to_vec()));
    let (device, module, function) = (0, 1, 1);
    send(
        Command::ModuleLoad {
            device,
            module,
            image,
        },
        None,
    );
    let name = "nothing".into();
    send(
        Command::FunctionGet {
            module,
            function,
            name,
        },
        None,
    );
    let launch = |blocks| Command::Launch {
        stream: STREAM,
        function,
        grid: Dim3 {
            x: blocks,
            y: 1,
            z: 1,
        },
        block: Dim3 { x: 32, y: 1, z: 1 },
        dynamic_shared: 0,
        cooperative: false,
        params: Bytes(vec![]),
    };
    let synchronize = Command::StreamSynchronize { stream: STREAM };
    let wait = || loop {
        // The client of a ring spins, too.
        if let Some(reply) = answers.poll(1) {
            break reply;
        }
        std::hint::spin_loop();
    };

    const ROUNDS: u32 = 20_000;
    let start = Instant::now();
    for _ in 0..ROUNDS {
        send(launch(1), None);
        send(synchronize.clone(), Some(1));
        wait().map_err(|status| format!("{status:?}"))?;
    }
    println!("launch and synchronize: {:?}", start.elapsed() / ROUNDS);

    let start = Instant::now();
    for _ in 0..ROUNDS {
        send(synchronize.clone(), Some(1));
        wait().map_err(|status| format!("{status:?}"))?;
    }
    println!("synchronize an idle stream: {:?}", start.elapsed() / ROUNDS);

    const LAUNCHES: u32 = 1_000_000;
    let start = Instant::now();
    for _ in 0..LAUNCHES {
        send(launch(1), None);
    }
    let issued = start.elapsed();
    send(synchronize, Some(1));
    wait().map_err(|status| format!("{status:?}"))?;
    let done = start.elapsed();
    println!(
        "{LAUNCHES} asynchronous launches: {:.0}/s issued, {:.0}/s done",
        f64::from(LAUNCHES) / issued.as_secs_f64(),
        f64::from(LAUNCHES) / done.as_secs_f64(),
    );
    Ok(())
}
