//! [`Config`]'s settings as methods, to be chained.

use std::time::Duration;

use super::{ClosedReads, Compression, Config, IdleMark};

macro_rules! setters {
    ($($field:ident: $type:ty,)*) => {
        impl Config {$(
            #[doc = concat!("Sets [`", stringify!($field), "`](Self#structfield.", stringify!($field), ").")]
            #[must_use]
            pub fn $field(mut self, $field: $type) -> Self {
                self.$field = $field;
                self
            }
        )*}
    };
}

setters! {
    chunk_max_size: u64,
    chunk_max_records: u64,
    max_record_size: u64,
    max_batch_size: u64,
    open_buffer_max_bytes: u64,
    flush_queue_max_bytes: u64,
    flush_batch_max_items: u64,
    flush_batch_max_bytes: u64,
    flush_batch_wait: Duration,
    soft_budget: u64,
    hard_budget: u64,
    truncate_torn_tail: bool,
    spare_chunks: u64,
    zero_ahead_bytes: u64,
    idle_mark: IdleMark,
    compression: Compression,
    read_buffer_size: u64,
    closed_reads: ClosedReads,
    file_mode: u32,
}
