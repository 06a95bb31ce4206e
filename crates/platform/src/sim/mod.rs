//! Simulated hardware: one state machine, used in-process under virtual time and by the lab supervisor.
