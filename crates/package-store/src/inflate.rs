//! Inflates deflate data (RFC 1951) in pieces, whatever it is: every index is checked, every code is proven
//! complete before it is used, and no distance reaches behind the start of the data.
//!
//! The method is libdeflate's: 64 bits of input at a time, one table lookup for most symbols, lengths and
//! distances with their extra bits in the entry. `docs/benchmarks.md` says what it earns over zlib-rs.

use std::array;

/// How far a distance reaches back.
pub(crate) const WINDOW_BYTES: usize = 32 << 10;
/// Room that the output has behind its limit: the longest match, started just before the limit, copied in
/// steps of 16 bytes, and the literals before it.
pub(crate) const SLACK_BYTES: usize = 258 + 16 + 4;
/// Bytes behind the end of the input that may be looked at, though never used. They are zero.
pub(crate) const PADDING_BYTES: usize = 1024;

/// Input that one step of the fast loop may look at.
const STEP_INPUT: usize = 32;
/// Input that the header of a block may take, generously.
const HEADER_INPUT: usize = 640;

const LENGTH_BITS: u32 = 11;
const DISTANCE_BITS: u32 = 8;
/// Most entries that tables of these bits may need, for 288 and 32 symbols of up to 15 bits (zlib's `enough`).
const LENGTH_ENTRIES: usize = 2342;
const DISTANCE_ENTRIES: usize = 402;

// A table's entry. Bits 0–7: bits to take, extra bits included; 8–11: bits of the code alone, or the bits
// that index a subtable; 16–30: literal, base value, or where the subtable starts.
const LITERAL: u32 = 1 << 31;
/// Neither literal nor match: one of the next two, or no code at all.
const EXCEPTIONAL: u32 = 1 << 15;
const SUBTABLE: u32 = 1 << 14;
const END_OF_BLOCK: u32 = 1 << 13;

/// Why [`Inflate::run`] came back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// More input is needed to go on.
    NeedsInput,
    /// The output has reached its limit.
    OutputFull,
    /// The data has come to its end.
    Done,
}

/// What is wrong with the data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Fault {
    /// It ends before its end.
    #[error("the compressed data ends early")]
    Truncated,
    /// It breaks the format.
    #[error("the compressed data has {0}")]
    Invalid(&'static str),
}

/// What there is to read. Bytes behind `end` are padding.
pub(crate) struct Input<'a> {
    /// At least [`PADDING_BYTES`] longer than `end`.
    pub(crate) bytes: &'a [u8],
    /// The next byte to take.
    pub(crate) at: usize,
    /// Where the input ends.
    pub(crate) end: usize,
    /// No more will come.
    pub(crate) is_last: bool,
}

/// Where content goes.
pub(crate) struct Output<'a> {
    /// At least [`SLACK_BYTES`] longer than `limit`.
    pub(crate) bytes: &'a mut [u8],
    /// Distances do not reach before this.
    pub(crate) start: usize,
    /// The next byte to write.
    pub(crate) at: usize,
    /// No symbol is begun from here on.
    pub(crate) limit: usize,
}

#[derive(Clone, Copy, Debug)]
enum Block {
    Header,
    Stored { left: usize },
    Codes,
    End,
}

/// The state between two pieces.
pub(crate) struct Inflate {
    bits: u64,
    /// How many of `bits` count. More may be there already; they are the same that the input gives again.
    count: u32,
    block: Block,
    is_final: bool,
    lengths: Box<[u32; LENGTH_ENTRIES]>,
    distances: Box<[u32; DISTANCE_ENTRIES]>,
}

impl Inflate {
    pub(crate) fn new() -> Self {
        Self {
            bits: 0,
            count: 0,
            block: Block::Header,
            is_final: false,
            lengths: Box::new([EXCEPTIONAL; LENGTH_ENTRIES]),
            distances: Box::new([EXCEPTIONAL; DISTANCE_ENTRIES]),
        }
    }

    /// Ready for other data.
    pub(crate) fn reset(&mut self) {
        self.bits = 0;
        self.count = 0;
        self.block = Block::Header;
        self.is_final = false;
    }

    /// Goes on as far as input and output allow. Before a fault, everything that precedes it is written.
    pub(crate) fn run(
        &mut self,
        input: &mut Input<'_>,
        output: &mut Output<'_>,
    ) -> Result<Progress, Fault> {
        loop {
            let paused = match self.block {
                Block::Header => self.header(input)?,
                Block::Stored { left } => self.stored(left, input, output)?,
                Block::Codes => self.codes(input, output)?,
                Block::End => return Ok(Progress::Done),
            };
            if let Some(paused) = paused {
                // The caller may move the input: whole bytes that were read ahead are read again.
                input.at -= (self.count / 8) as usize;
                self.count %= 8;
                self.bits &= (1 << self.count) - 1;
                return Ok(paused);
            }
        }
    }

    fn end_block(&mut self, input: &mut Input<'_>) {
        self.block = Block::Header;
        if self.is_final {
            self.give_back(input);
            self.block = Block::End;
        }
    }

    /// Whole bytes that were read ahead go back; what is left of the last byte is dropped.
    fn give_back(&mut self, input: &mut Input<'_>) {
        input.at -= (self.count / 8) as usize;
        self.bits = 0;
        self.count = 0;
    }

    #[inline(always)]
    fn refill(&mut self, input: &mut Input<'_>) {
        let word = input.bytes[input.at..].first_chunk();
        let word = u64::from_le_bytes(*word.expect("the input is padded"));
        self.bits |= word << self.count;
        input.at += ((63 - self.count) / 8) as usize;
        self.count |= 56;
    }

    #[inline(always)]
    fn skip(&mut self, count: u32) {
        self.bits >>= count;
        self.count -= count;
    }

    #[inline(always)]
    fn take(&mut self, count: u32) -> u32 {
        let value = self.bits & ((1 << count) - 1);
        self.skip(count);
        value as u32
    }

    /// Whether bits were taken that the input does not have.
    #[inline(always)]
    fn overran(&self, input: &Input<'_>) -> bool {
        input.at > input.end + (self.count / 8) as usize
    }

    fn header(&mut self, input: &mut Input<'_>) -> Result<Option<Progress>, Fault> {
        if !input.is_last && input.end.saturating_sub(input.at) < HEADER_INPUT {
            return Ok(Some(Progress::NeedsInput));
        }
        let read = self.read_header(input);
        // What lies behind the end was misread, then: whatever was found there counts for nothing.
        if self.overran(input) {
            return Err(Fault::Truncated);
        }
        read.map(|()| None)
    }

    fn read_header(&mut self, input: &mut Input<'_>) -> Result<(), Fault> {
        self.refill(input);
        self.is_final = self.take(1) == 1;
        match self.take(2) {
            0 => {
                self.give_back(input);
                let header: &[u8; 4] = input.bytes[input.at..]
                    .first_chunk()
                    .expect("the input is padded");
                let [a, b, c, d] = *header;
                input.at += 4;
                let length = u16::from_le_bytes([a, b]);
                if length != !u16::from_le_bytes([c, d]) {
                    return Err(Fault::Invalid("a stored block of two lengths"));
                }
                let left = usize::from(length);
                self.block = Block::Stored { left };
            }
            1 => {
                let lengths: [u8; 288] = array::from_fn(|symbol| match symbol {
                    0..144 => 8,
                    144..256 => 9,
                    256..280 => 7,
                    _ => 8,
                });
                build(&mut self.lengths[..], LENGTH_BITS, &lengths, length_entry)?;
                build(
                    &mut self.distances[..],
                    DISTANCE_BITS,
                    &[5; 32],
                    distance_entry,
                )?;
                self.block = Block::Codes;
            }
            2 => {
                self.read_codes(input)?;
                self.block = Block::Codes;
            }
            _ => return Err(Fault::Invalid("a block of an unknown kind")),
        }
        Ok(())
    }

    fn read_codes(&mut self, input: &mut Input<'_>) -> Result<(), Fault> {
        const ORDER: [usize; 19] = [
            16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15,
        ];
        let length_count = self.take(5) as usize + 257;
        let distance_count = self.take(5) as usize + 1;
        let order_count = self.take(4) as usize + 4;
        if length_count > 286 || distance_count > 30 {
            return Err(Fault::Invalid("too many symbols"));
        }
        let mut code_lengths = [0u8; 19];
        for symbol in &ORDER[..order_count] {
            self.refill(input);
            code_lengths[*symbol] = self.take(3) as u8;
        }
        let mut codes = [EXCEPTIONAL; 128];
        build(&mut codes, 7, &code_lengths, |symbol| {
            Some((symbol << 16, 0))
        })?;
        let mut lengths = [0u8; 286 + 30];
        let wanted = length_count + distance_count;
        let mut at = 0;
        while at < wanted {
            self.refill(input);
            let entry = codes[(self.bits & 127) as usize];
            if entry & EXCEPTIONAL != 0 {
                return Err(Fault::Invalid("a code length without meaning"));
            }
            self.skip(entry & 0xff);
            let (value, repeat) = match entry >> 16 {
                literal @ 0..16 => (literal as u8, 1),
                16 if at == 0 => return Err(Fault::Invalid("a repetition of nothing")),
                16 => (lengths[at - 1], 3 + self.take(2)),
                17 => (0, 3 + self.take(3)),
                _ => (0, 11 + self.take(7)),
            };
            let end = at + repeat as usize;
            if end > wanted {
                return Err(Fault::Invalid("more code lengths than symbols"));
            }
            lengths[at..end].fill(value);
            at = end;
        }
        if lengths[256] == 0 {
            return Err(Fault::Invalid("a block that cannot end"));
        }
        let (lengths, distances) = lengths[..wanted].split_at(length_count);
        build(&mut self.lengths[..], LENGTH_BITS, lengths, length_entry)?;
        build(
            &mut self.distances[..],
            DISTANCE_BITS,
            distances,
            distance_entry,
        )
    }

    fn stored(
        &mut self,
        left: usize,
        input: &mut Input<'_>,
        output: &mut Output<'_>,
    ) -> Result<Option<Progress>, Fault> {
        let n = left
            .min(input.end.saturating_sub(input.at))
            .min(output.limit.saturating_sub(output.at));
        output.bytes[output.at..output.at + n]
            .copy_from_slice(&input.bytes[input.at..input.at + n]);
        input.at += n;
        output.at += n;
        self.block = Block::Stored { left: left - n };
        if left == n {
            self.end_block(input);
            return Ok(None);
        }
        if output.at >= output.limit {
            return Ok(Some(Progress::OutputFull));
        }
        match input.is_last {
            true => Err(Fault::Truncated),
            false => Ok(Some(Progress::NeedsInput)),
        }
    }

    fn codes(
        &mut self,
        input: &mut Input<'_>,
        output: &mut Output<'_>,
    ) -> Result<Option<Progress>, Fault> {
        if self.fast(input, output)? {
            return Ok(None);
        }
        if output.at >= output.limit {
            return Ok(Some(Progress::OutputFull));
        }
        if !input.is_last {
            return Ok(Some(Progress::NeedsInput));
        }
        loop {
            if output.at >= output.limit {
                return Ok(Some(Progress::OutputFull));
            }
            let before = output.at;
            let ended = self.symbol(input, output);
            if self.overran(input) {
                output.at = before;
                return Err(Fault::Truncated);
            }
            if ended? {
                self.end_block(input);
                return Ok(None);
            }
        }
    }

    /// Symbols while input and output are ample. True: the block has ended.
    fn fast(&mut self, input: &mut Input<'_>, output: &mut Output<'_>) -> Result<bool, Fault> {
        let Some(last) = input.end.checked_sub(STEP_INPUT) else {
            return Ok(false);
        };
        let state = Fast {
            bits: self.bits,
            count: self.count,
            from: input.at,
            to: output.at,
        };
        let (state, done) = state.run(
            &self.lengths,
            &self.distances,
            input.bytes,
            last,
            output.bytes,
            output.start,
            output.limit,
        );
        self.bits = state.bits;
        self.count = state.count;
        input.at = state.from;
        output.at = state.to;
        let done = done?;
        if done {
            self.end_block(input);
        }
        Ok(done)
    }

    /// One symbol, near the end of the input. True: it was the end of the block.
    fn symbol(&mut self, input: &mut Input<'_>, output: &mut Output<'_>) -> Result<bool, Fault> {
        self.refill(input);
        let entry = look_up(
            &self.lengths[..],
            LENGTH_BITS,
            &mut self.bits,
            &mut self.count,
        );
        if entry & LITERAL != 0 {
            self.skip(entry & 0xff);
            output.bytes[output.at] = (entry >> 16) as u8;
            output.at += 1;
            return Ok(false);
        }
        if entry & EXCEPTIONAL != 0 {
            self.skip(entry & 0xff);
            return match entry & END_OF_BLOCK != 0 {
                true => Ok(true),
                false => Err(Fault::Invalid("a code without meaning")),
            };
        }
        let length = self.value(entry);
        self.refill(input);
        let entry = look_up(
            &self.distances[..],
            DISTANCE_BITS,
            &mut self.bits,
            &mut self.count,
        );
        if entry & EXCEPTIONAL != 0 {
            return Err(Fault::Invalid("a distance without meaning"));
        }
        let distance = self.value(entry);
        if distance > output.at - output.start {
            return Err(Fault::Invalid("a distance behind its start"));
        }
        copy_match(output.bytes, output.at, distance, length);
        output.at += length;
        Ok(false)
    }

    fn value(&mut self, entry: u32) -> usize {
        let value = value_of(entry, self.bits);
        self.skip(entry & 0xff);
        value
    }
}

/// Follows a pointer to a subtable, taking the bits that led there.
#[inline(always)]
fn look_up(table: &[u32], bits_of_table: u32, bits: &mut u64, count: &mut u32) -> u32 {
    let entry = table[(*bits & ((1 << bits_of_table) - 1)) as usize];
    if entry & SUBTABLE == 0 {
        return entry;
    }
    *bits >>= bits_of_table;
    *count -= bits_of_table;
    table[sub_index(entry, *bits)]
}

#[inline(always)]
fn sub_index(entry: u32, bits: u64) -> usize {
    let mask = (1u64 << ((entry >> 8) & 0xf)) - 1;
    ((entry >> 16) & 0x7fff) as usize + (bits & mask) as usize
}

/// Base and extra bits of a length or distance.
#[inline(always)]
fn value_of(entry: u32, bits: u64) -> usize {
    let extra = (bits & ((1 << (entry & 0x3f)) - 1)) >> ((entry >> 8) & 0xf);
    ((entry >> 16) & 0x7fff) as usize + extra as usize
}

/// The registers of the fast loop: taken and given by value, so that they are registers.
#[derive(Clone, Copy)]
struct Fast {
    bits: u64,
    count: u32,
    from: usize,
    to: usize,
}

impl Fast {
    #[inline(always)]
    fn refill(&mut self, input: &[u8]) {
        let word = input[self.from..].first_chunk();
        let word = u64::from_le_bytes(*word.expect("the input is padded"));
        self.bits |= word << (self.count & 63);
        self.from += ((63 - self.count) / 8) as usize;
        self.count |= 56;
    }

    #[inline(always)]
    fn skip(&mut self, entry: u32) {
        self.bits >>= entry & 63;
        self.count = self.count.wrapping_sub(entry & 0xff);
    }

    #[inline(always)]
    fn literal(&mut self, entry: u32, output: &mut [u8]) {
        self.skip(entry);
        output[self.to] = (entry >> 16) as u8;
        self.to += 1;
    }

    /// Bits that count are at least 56 after each refill. Two literals and a length take at most 42 of them, a
    /// distance 28; the next entry is looked up before the match is copied, while memory is slow to answer.
    #[expect(clippy::too_many_arguments, reason = "each lives in a register")]
    #[inline(never)]
    fn run(
        mut self,
        lengths: &[u32; LENGTH_ENTRIES],
        distances: &[u32; DISTANCE_ENTRIES],
        input: &[u8],
        last: usize,
        output: &mut [u8],
        start: usize,
        limit: usize,
    ) -> (Self, Result<bool, Fault>) {
        const LENGTH_MASK: u64 = (1 << LENGTH_BITS) - 1;
        const DISTANCE_MASK: u64 = (1 << DISTANCE_BITS) - 1;
        if self.from >= last || self.to >= limit {
            return (self, Ok(false));
        }
        self.refill(input);
        let mut entry = lengths[(self.bits & LENGTH_MASK) as usize];
        loop {
            if entry & LITERAL != 0 {
                self.literal(entry, output);
                entry = lengths[(self.bits & LENGTH_MASK) as usize];
                if entry & LITERAL != 0 {
                    self.literal(entry, output);
                    entry = lengths[(self.bits & LENGTH_MASK) as usize];
                    if entry & LITERAL != 0 {
                        self.literal(entry, output);
                        if self.from >= last || self.to >= limit {
                            return (self, Ok(false));
                        }
                        entry = lengths[(self.bits & LENGTH_MASK) as usize];
                        self.refill(input);
                        continue;
                    }
                }
            }
            if entry & EXCEPTIONAL != 0 {
                if entry & SUBTABLE != 0 {
                    self.skip(LENGTH_BITS);
                    entry = lengths[sub_index(entry, self.bits)];
                    if entry & LITERAL != 0 {
                        self.literal(entry, output);
                        if self.from >= last || self.to >= limit {
                            return (self, Ok(false));
                        }
                        self.refill(input);
                        entry = lengths[(self.bits & LENGTH_MASK) as usize];
                        continue;
                    }
                }
                if entry & EXCEPTIONAL != 0 {
                    self.skip(entry);
                    let done = match entry & END_OF_BLOCK != 0 {
                        true => Ok(true),
                        false => Err(Fault::Invalid("a code without meaning")),
                    };
                    return (self, done);
                }
            }
            let length = value_of(entry, self.bits);
            self.skip(entry);
            self.refill(input);
            let mut entry_of_distance = distances[(self.bits & DISTANCE_MASK) as usize];
            if entry_of_distance & EXCEPTIONAL != 0 {
                if entry_of_distance & SUBTABLE != 0 {
                    self.skip(DISTANCE_BITS);
                    entry_of_distance = distances[sub_index(entry_of_distance, self.bits)];
                }
                if entry_of_distance & EXCEPTIONAL != 0 {
                    let fault = Fault::Invalid("a distance without meaning");
                    return (self, Err(fault));
                }
            }
            let distance = value_of(entry_of_distance, self.bits);
            self.skip(entry_of_distance);
            let at = self.to;
            if distance > at - start {
                return (self, Err(Fault::Invalid("a distance behind its start")));
            }
            self.to += length;
            if self.from >= last || self.to >= limit {
                copy_match(output, at, distance, length);
                return (self, Ok(false));
            }
            entry = lengths[(self.bits & LENGTH_MASK) as usize];
            self.refill(input);
            copy_match(output, at, distance, length);
        }
    }
}

/// Copies `length` bytes from `distance` before `at` to `at`. May write up to 15 bytes more.
#[inline(always)]
fn copy_match(output: &mut [u8], at: usize, distance: usize, length: usize) {
    if distance >= 16 {
        let mut from = at - distance;
        let mut to = at;
        let end = at + length;
        loop {
            step::<16>(output, from, to);
            from += 16;
            to += 16;
            if to >= end {
                return;
            }
        }
    }
    copy_near(output, at, distance, length);
}

#[inline(always)]
fn step<const N: usize>(output: &mut [u8], from: usize, to: usize) {
    let bytes: [u8; N] = *output[from..].first_chunk().expect("the output has slack");
    *output[to..]
        .first_chunk_mut()
        .expect("the output has slack") = bytes;
}

/// What repeats itself within 16 bytes.
#[inline]
fn copy_near(output: &mut [u8], at: usize, distance: usize, length: usize) {
    if distance == 1 {
        let byte = output[at - 1];
        output[at..at + length].fill(byte);
        return;
    }
    if distance >= 8 {
        let mut done = 0;
        while done < length {
            step::<8>(output, at + done - distance, at + done);
            done += 8;
        }
        return;
    }
    for to in at..at + length {
        output[to] = output[to - distance];
    }
}

/// Value and extra bits of a length symbol's entry; `None`: a symbol without meaning.
fn length_entry(symbol: u32) -> Option<(u32, u32)> {
    const BASES: [u16; 29] = [
        3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 15, 17, 19, 23, 27, 31, 35, 43, 51, 59, 67, 83, 99, 115,
        131, 163, 195, 227, 258,
    ];
    const EXTRA: [u8; 29] = [
        0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0,
    ];
    match symbol {
        0..256 => Some((LITERAL | symbol << 16, 0)),
        256 => Some((EXCEPTIONAL | END_OF_BLOCK, 0)),
        257..286 => {
            let at = symbol as usize - 257;
            Some((u32::from(BASES[at]) << 16, u32::from(EXTRA[at])))
        }
        _ => None,
    }
}

/// The same of a distance symbol.
fn distance_entry(symbol: u32) -> Option<(u32, u32)> {
    match symbol {
        0..4 => Some(((symbol + 1) << 16, 0)),
        4..30 => {
            let extra = symbol / 2 - 1;
            let base = ((2 + (symbol & 1)) << extra) + 1;
            Some((base << 16, extra))
        }
        _ => None,
    }
}

/// Builds the table of a canonical code from its lengths. Refuses what zlib refuses: a code with more words
/// than there can be, or with fewer, but for a single word of one bit, or none (any use of that is a fault).
fn build(
    table: &mut [u32],
    table_bits: u32,
    lengths: &[u8],
    entry_of: impl Fn(u32) -> Option<(u32, u32)>,
) -> Result<(), Fault> {
    let mut counts = [0u32; 16];
    for length in lengths {
        counts[usize::from(*length)] += 1;
    }
    let used = lengths.len() as u32 - counts[0];
    counts[0] = 0;
    let space: u32 = (1..16).map(|length| counts[length] << (15 - length)).sum();
    let is_single = used == 0 || (used == 1 && counts[1] == 1);
    // The code of code lengths, the only one of 7 bits, must be complete.
    if space > 1 << 15 || (space < 1 << 15 && (!is_single || table_bits == 7)) {
        return Err(Fault::Invalid("an impossible code"));
    }
    if space < 1 << 15 {
        table[..1 << table_bits].fill(EXCEPTIONAL);
    }
    let mut firsts = [0usize; 16];
    for length in 1..15 {
        firsts[length + 1] = firsts[length] + counts[length] as usize;
    }
    let mut sorted = [0u16; 288];
    for (symbol, length) in lengths.iter().enumerate() {
        if *length > 0 {
            let at = &mut firsts[usize::from(*length)];
            sorted[*at] = symbol as u16;
            *at += 1;
        }
    }
    let mut free = 1 << table_bits;
    let (mut sub_start, mut sub_bits, mut sub_prefix) = (0usize, 0u32, u32::MAX);
    let mut code = 0u32;
    let mut length = 1;
    let mut left = counts[1];
    for symbol in &sorted[..used as usize] {
        while left == 0 {
            length += 1;
            code <<= 1;
            left = counts[length as usize];
        }
        // Codes come with their first bit lowest.
        let reversed = (code.reverse_bits() >> (32 - length)) as usize;
        let meaning = entry_of(u32::from(*symbol));
        let entry = |bits: u32| match meaning {
            Some((value, extra)) => value | bits << 8 | (bits + extra),
            None => EXCEPTIONAL | bits,
        };
        if length <= table_bits {
            let entry = entry(length);
            let places = table[..1 << table_bits].iter_mut().skip(reversed);
            places.step_by(1 << length).for_each(|place| *place = entry);
        } else {
            let prefix = code >> (length - table_bits);
            if prefix != sub_prefix {
                sub_prefix = prefix;
                sub_start = free;
                sub_bits = length - table_bits;
                let mut filled = left;
                while filled < 1 << sub_bits && sub_bits + table_bits < 15 {
                    sub_bits += 1;
                    filled = (filled << 1) + counts[(table_bits + sub_bits) as usize];
                }
                free += 1 << sub_bits;
                let place = reversed & ((1 << table_bits) - 1);
                table[place] = EXCEPTIONAL | SUBTABLE | (sub_start as u32) << 16 | sub_bits << 8;
            }
            let entry = entry(length - table_bits);
            let places = table[sub_start..sub_start + (1 << sub_bits)].iter_mut();
            let places = places.skip(reversed >> table_bits);
            places
                .step_by(1 << (length - table_bits))
                .for_each(|place| *place = entry);
        }
        code += 1;
        left -= 1;
    }
    Ok(())
}
