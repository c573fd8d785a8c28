// SPDX-License-Identifier: MIT OR Apache-2.0
//! How a client and a worker on one machine meet.
