//! The sizes of Fargate tasks.
//! <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/fargate-tasks-services.html#fargate-tasks-size>

use pileus_core::ApiError;

use crate::error::client;

/// CPU units and MiB of memory of a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Size {
    pub(crate) cpu: u32,
    pub(crate) memory: u32,
}

/// CPU units, with the least and most memory and the step between, in MiB. The smallest has no even steps.
const TABLE: [(u32, u32, u32, u32); 6] = [
    (512, 1024, 4096, 1024),
    (1024, 2048, 8192, 1024),
    (2048, 4096, 16_384, 1024),
    (4096, 8192, 30_720, 1024),
    (8192, 16_384, 61_440, 4096),
    (16_384, 32_768, 122_880, 8192),
];

impl Size {
    /// The size that a request's `cpu` and `memory` name: `256` or `.25 vCPU`, `512` or `0.5 GB`.
    ///
    /// # Errors
    /// Fargate has no such size.
    pub(crate) fn read(cpu: Option<&str>, memory: Option<&str>) -> Result<Self, ApiError> {
        let cpu = cpu.ok_or_else(|| client("Fargate requires that 'cpu' be defined at the task level."))?;
        let memory =
            memory.ok_or_else(|| client("Fargate requires that 'memory' be defined at the task level."))?;
        let bad = |what: &str, given: &str| client(format!("Invalid '{what}' setting for task: {given}"));
        let size = Self {
            cpu: number(cpu, "vcpu").ok_or_else(|| bad("cpu", cpu))?,
            memory: number(memory, "gb").ok_or_else(|| bad("memory", memory))?,
        };
        if size.exists() {
            return Ok(size);
        }
        Err(client(format!(
            "No Fargate configuration exists for given values: {} CPU, {} memory. See the Amazon ECS \
             documentation for the valid values.",
            size.cpu, size.memory
        )))
    }

    fn exists(self) -> bool {
        let even = TABLE.iter().any(|&(cpu, least, most, step)| {
            self.cpu == cpu && (least..=most).contains(&self.memory) && self.memory.is_multiple_of(step)
        });
        even || (self.cpu == 256 && [512, 1024, 2048].contains(&self.memory))
    }
}

/// A number of units, or of 1024 of them where `unit` follows.
fn number(text: &str, unit: &str) -> Option<u32> {
    let text = text.trim().to_ascii_lowercase();
    let Some(thousands) = text.strip_suffix(unit) else { return text.parse().ok() };
    let units = thousands.trim().parse::<f64>().ok()? * 1024.0;
    (units.fract() == 0.0 && (0.0..1e9).contains(&units)).then_some(units as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_of_fargate() {
        for (cpu, memory, valid) in [
            (256, 512, true),
            (256, 2048, true),
            (256, 1536, false),
            (256, 3072, false),
            (512, 512, false),
            (512, 4096, true),
            (1024, 8192, true),
            (1024, 9216, false),
            (4096, 30_720, true),
            (8192, 18_432, false),
            (8192, 20_480, true),
            (16_384, 122_880, true),
            (300, 512, false),
            (0, 0, false),
        ] {
            let size = Size::read(Some(&cpu.to_string()), Some(&memory.to_string()));
            assert_eq!(size.is_ok(), valid, "{cpu} {memory}");
        }
    }

    #[test]
    fn units_are_understood() {
        let size = |cpu, memory| Size::read(Some(cpu), Some(memory)).ok();
        assert_eq!(size(".25 vCPU", "0.5 GB"), Some(Size { cpu: 256, memory: 512 }));
        assert_eq!(size("1 vcpu", "2GB"), Some(Size { cpu: 1024, memory: 2048 }));
        assert_eq!(size("one", "2GB"), None);
        assert_eq!(size("-1 vCPU", "2 GB"), None);
    }
}
