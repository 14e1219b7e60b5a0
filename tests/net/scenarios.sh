# scenarios.sh: what happens to the link, and what must hold then. Sourced by net.sh.
SCENARIOS="quick step wifi outages unplugged neighbours roaming"

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

# What holds on every network. Budgets are ten times what a local run needs, so no answer may be late.
finish() {
    stream_stop
    site_check_leaks
    site_stop
    check "no request failed" [ "$(total errors)" -eq 0 ]
    check "no answer was late" [ "$(total late)" -eq 0 ]
    check "answers are right more often than not" [ $((2 * $(total right))) -gt "$(total requests)" ]
}

# The link falls silent for so many seconds. What is asked meanwhile is answered here, and it is noticed that nobody is there.
outage() { # outage SECONDS [cut|unplug]: phases `cut` and `back`, the latter is begun only
    rig_"${2:-cut}" 1
    phase cut
    sleep "$1"
    phase back
    if [ "${2:-cut}" = cut ]; then rig_restore 1; else rig_plug 1; fi
}

outage_check() {
    check "during the cut there are requests" [ "$(value cut requests)" -gt 5 ]
    check "during the cut every answer is local" [ "$(value cut local)" -eq "$(value cut requests)" ]
    check "the heartbeat notices a silent link" [ "$(state cut)" != up ]
    # The goal is 2 s; it is printed, and ten times as much is asserted.
    echo "back: first answer of the edge in time after $(value back first_edge_ms) ms, goal 2000 ms"
    check "after the cut the edge is used again" [ "$(value back first_edge_ms)" -ge 0 ]
    check "soon" [ "$(value back first_edge_ms)" -lt 20000 ]
}

# A step down in bandwidth: fewer bytes go up, and decisions that leave the edge out say what they expect of it.
thin_check() { # thin_check BEFORE THIN
    check "$1: there are answers of the edge" [ "$(value "$1" edge)" -gt 0 ]
    check "$2: fewer bytes go up for each request than in $1" [ $((2 * $(value "$2" up_bytes))) -lt "$(value "$1" up_bytes)" ]
    check "$2: every decision has a reason" [ "$(grep -c "^$2,.*,[^,]*,\$" "$work/requests.csv")" -eq 0 ]
    grep "^$2,.*,local,local," "$work/requests.csv" | sed 's/^\([^,]*,\)\{13\}//' | sort | uniq -c | sort -rn | head -n 4 |
        sed "s/^/$2: /"
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
    sleep 4
    phase lossy
    rig_loss 1 20
    sleep 3
    outage 4
    sleep 5
    finish
    thin_check fast thin
    outage_check
}

# 60 and 2.5 Mbit/s in turn.
scenario_step() {
    begin 1
    for k in 1 2 3; do
        phase "wide$k"
        rig_rate 1 60000
        sleep 8
        phase "narrow$k"
        rig_rate 1 2500
        sleep 8
    done
    finish
    for k in 1 2 3; do
        thin_check "wide$k" "narrow$k"
    done
}

# A number that looks random, 0 to 999, the same in every run.
random=1
random_next() {
    random=$(((random * 1103515245 + 12345) % 2147483648))
    drawn=$((random / 65536 % 1000))
}

# Wi-Fi by percentiles: mostly 19 to 77 Mbit/s, a new value each second, jitter as on the air.
scenario_wifi() {
    begin 1
    rig_delay 1 2 8
    phase wifi
    for k in $(seq 30); do
        random_next
        rig_rate 1 $((drawn < 50 ? 5000 + 270 * drawn : drawn < 500 ? 18700 + 77 * (drawn - 50) : 53200 + 48 * (drawn - 500)))
        sleep 1
    done
    finish
    check "the edge is used" [ "$(value wifi edge)" -gt 0 ]
}

# Gone again and again, for 1 to 8 s.
scenario_outages() {
    begin 1
    for k in 1 2 3 5 8; do
        phase "up$k"
        sleep 5
        rig_cut 1
        phase "cut$k"
        sleep $k
        phase "back$k"
        rig_restore 1
        sleep 8
    done
    finish
    # What TCP repeats after ever longer pauses is not waited for.
    check "a new connection takes over from one that is silent" grep -q 'a new connection takes over' "$work/client.log"
    for k in 1 2 3 5 8; do
        echo "outage of $k s: first answer of the edge in time after $(value back$k first_edge_ms) ms, goal 2000 ms"
        check "cut$k: every answer is local" [ "$(value cut$k local)" -eq "$(value cut$k requests)" ]
        check "back$k: the edge is used again, soon" [ "$(value back$k first_edge_ms)" -ge 0 ]
    done
}

# The cable is pulled, for longer than a connection lives.
scenario_unplugged() {
    begin 1
    phase up
    sleep 5
    outage 12 unplug
    sleep 10
    finish
    outage_check
}

# Others take their share of the air, now more, now less, and some packets with it.
scenario_neighbours() {
    begin 1
    phase neighbours
    for k in $(seq 30); do
        random_next
        rig_rate 1 $((2000 + 38 * drawn))
        rig_delay 1 3 $((drawn / 40))
        rig_loss 1 $((drawn / 50))
        sleep 1
    done
    finish
    check "the edge is used" [ "$(value neighbours edge)" -gt 0 ]
}

# From one edge to the other: the first link fades and is lost, the second comes; then the way back.
scenario_roaming() {
    begin 2
    for k in 12 21; do
        old=${k%?} new=${k#?}
        phase "near$old"
        rig_cut "$new"
        rig_rate "$old" 20000
        sleep 8
        phase "between$k"
        rig_restore "$new"
        rig_rate "$new" 2500
        rig_rate "$old" 2500
        sleep 6
        phase "near$new-after"
        rig_cut "$old"
        rig_rate "$new" 20000
        sleep 8
        rig_restore "$old"
    done
    finish
    for k in near1 near2-after near2 near1-after; do
        echo "$k: first answer of an edge in time after $(value $k first_edge_ms) ms"
        check "$k: an edge is used" [ "$(value $k edge)" -gt 0 ]
    done
}
