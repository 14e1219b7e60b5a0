# scenarios.sh: what happens to the link, and what must hold then. Sourced by net.sh.
SCENARIOS="quick tiny"

begin() { # begin LINKS
    rig_make "$1" || give_up "the network could not be made"
    for k in $(seq "$1"); do
        rig_rate "$k" 20000
        rig_delay "$k" 5 2
    done
    site_start "$1"
    stream_start
    sleep 3
    site_measure
}

# What holds on every network.
finish() {
    stream_stop
    site_check_leaks
    site_stop
    check "no request failed" [ "$(total errors)" -eq 0 ]
    check "no answer was late" [ "$(total late)" -eq 0 ]
    check "answers are right more often than not" [ $((2 * $(total right))) -gt "$(total requests)" ]
}

# The goal is 2 s from the end of an outage to the first answer of the edge in time; that is printed, ten times of it is asserted.
recovered() { # recovered PHASE
    echo "$1: first answer of the edge in time after $(value "$1" first_edge_ms) ms"
    check "$1: the edge is used again" [ "$(value "$1" first_edge_ms)" -ge 0 ]
    check "$1: soon" [ "$(value "$1" first_edge_ms)" -lt 20000 ]
}

scenario_quick() {
    begin 1
    phase fast
    sleep 4
    phase thin
    rig_rate 1 1000
    sleep 5
    phase thick
    rig_rate 1 20000
    sleep 5
    phase lossy
    rig_loss 1 20
    sleep 4
    phase cut
    rig_cut 1
    sleep 5
    phase back
    rig_restore 1
    sleep 5
    finish
    recovered back
}
scenario_tiny() { begin 1; phase a; sleep 1; finish; }
