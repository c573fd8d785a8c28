// SPDX-License-Identifier: MIT OR Apache-2.0
//! Runs forms of the table with this crate.

use super::golden::{BLOCK, CASES, Form, HEADER, results};
use vcuda_ptx::{AddressSpace, Engine, Lanes, Launch, Limits, Program, Region, parse};

const BASE: u64 = 0x10_0000_0000;
const HALF: u64 = 1 << 20;

pub struct Machine {
    space: AddressSpace,
    engine: Engine,
}

impl Machine {
    pub fn new() -> Machine {
        let region = Region::anonymous(BASE, 2 * HALF).expect("a region of 2 MiB");
        let space = AddressSpace::new(vec![region]).expect("one region overlaps no other");
        for addr in [BASE, BASE + HALF] {
            space.allocate(addr, HALF).expect("it lies in the region");
        }
        Machine {
            space,
            engine: Engine::new(1),
        }
    }

    /// The results of all cases, one after the other.
    pub fn run(&self, form: &Form, lanes: Lanes) -> Result<Vec<u8>, Box<dyn std::error::Error>> {
        let source = format!("{HEADER}{}", form.kernel("k"));
        let module = parse(source.as_bytes())?;
        let program = Program::load_for(
            module,
            &self.space,
            &mut |_, _, _| unreachable!("the kernels have no variables"),
            lanes,
        )?;
        let kernel = program.kernel("k")?;
        let (input, output) = (BASE, BASE + HALF);
        let words: Vec<u8> = form
            .inputs()
            .iter()
            .flat_map(|word| word.to_le_bytes())
            .collect();
        self.space.write(input, &words)?;
        let mut out = vec![0u8; CASES * form.outs.len() * 8];
        self.space.write(output, &out)?;
        let params: Vec<u8> = [output, input]
            .iter()
            .flat_map(|p| p.to_le_bytes())
            .collect();
        let launch = Launch {
            grid: [(CASES / BLOCK) as u32, 1, 1],
            block: [BLOCK as u32, 1, 1],
            dynamic_shared: 0,
            params: &params,
            cooperative: false,
        };
        self.engine
            .run(&self.space, &kernel, &launch, &Limits::default())?;
        self.space.read(output, &mut out)?;
        let words: Vec<u64> = out
            .chunks_exact(8)
            .map(|word| {
                u64::from_le_bytes([
                    word[0], word[1], word[2], word[3], word[4], word[5], word[6], word[7],
                ])
            })
            .collect();
        Ok(results(form, &words))
    }
}
