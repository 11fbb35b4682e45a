//! The SIMD kernels of culm, as plain WebAssembly exports.
//!
//! Pointers are byte offsets into the instance's memory, which belongs to the caller from
//! `heap_base()` on; nothing here allocates. Counts may be zero. Every export's Safety section says
//! what its pointers have to reach; nothing else is required of a caller, and no alignment.

#![allow(clippy::needless_range_loop)] // tiles walk several arrays by one index
#![allow(clippy::too_many_arguments)] // an ABI of numbers

pub mod activations;
pub mod attention;
pub mod axpy;
pub mod bytes;
pub mod codes;
pub mod coefficients;
pub mod elementwise;
pub mod exp;
pub mod f16;
pub mod float;
pub mod gate;
pub mod ggml;
pub mod grids;
pub mod groups;
pub mod i8;
pub mod kv;
pub mod layout;
pub mod matmul;
pub mod neurons;
pub mod norm;
pub mod pack;
pub mod panel;
pub mod picked;
pub mod q4;
pub mod quantise;
pub mod rope;
pub mod screen;
pub mod simd;
#[cfg(not(target_arch = "wasm32"))]
pub mod simd_emulated;
pub mod six;
pub mod table;
pub mod top;
pub mod training;
#[cfg(test)]
mod twins;
pub mod unpacked;
