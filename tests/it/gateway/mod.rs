//! The gateway in front of moto, spoken to as everybody speaks to it: through the AWS SDK.

mod answers;
mod changes;
mod cloudwatch;
mod control_plane;
mod faults;
mod gaps;
mod strict;
mod tokens;
mod world;
