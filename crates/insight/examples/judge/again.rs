//! A scenario once more: other chance, another order of VMs and processes, and so other page tables; and which program
//! each page table is.

use std::collections::BTreeMap;

use havana_sim::{Rng, Scenario};

use crate::play::shuffle;
use havana_store::{Dataset, StoreError};

/// Where the simulator has the page tables of VMMs, and of guest processes.
const VMM_PAGES: i64 = 0x1_0000_0000;
const GUEST_PAGES: i64 = 0x540_0000;
const PAGE: i64 = 0x2000;

/// The scenario of this seed.
pub(crate) fn again(mut scenario: Scenario, seed: u64) -> Scenario {
    let mut rng = Rng::new(seed);
    scenario.node.seed = rng.next_u64() >> 1;
    scenario.node.tsc += (rng.unit() * 1e12) as i64;
    shuffle(&mut scenario.vm, &mut rng);
    for vm in &mut scenario.vm {
        shuffle(&mut vm.process, &mut rng);
    }
    scenario
}

/// What each process of the dataset is: VM and program, as the scenario calls them.
pub(crate) fn programs(scenario: &Scenario, dataset: &Dataset) -> Result<BTreeMap<i32, String>, StoreError> {
    let mut at = BTreeMap::new();
    let mut number = 0;
    for vm in &scenario.vm {
        for _ in 0..vm.count {
            let host = VMM_PAGES + PAGE * number;
            number += 1;
            let mut page = GUEST_PAGES;
            for index in 0..vm.vcpus {
                for process in vm.process.iter().filter(|process| process.vcpu == index) {
                    page += PAGE;
                    // A process that is forked begins on the first page that is free then.
                    let of_all = PAGE * (vm.process.len() as i64 + i64::from(vm.vcpus) + 1);
                    let cr3 = if process.forks { GUEST_PAGES + of_all } else { page };
                    at.insert((host, cr3), format!("{} {}", vm.name, process.name));
                }
                // That of its kernel.
                page += PAGE;
            }
        }
    }
    let hosts: BTreeMap<i32, i64> = dataset.vms()?.into_iter().map(|vm| (vm.vm_id, vm.host_cr3)).collect();
    let known = |process: havana_rows::Process| {
        let host = hosts.get(&process.vm_id?)?;
        Some((process.process_id, at.get(&(*host, process.cr3))?.clone()))
    };
    Ok(dataset.processes()?.into_iter().filter_map(known).collect())
}
