# lib_rig.sh: a robot and one or two edge nodes in network namespaces of their own, with links whose rate, delay, loss and
# presence can be changed. Sourced by net.sh, inside the network, mount and process namespaces that it made for itself: what is
# made here is seen by nobody else and is gone with the last process in them, however that ends.
#
#   robot  r1 --veth-- m1  air1  t1 --relay-- t1  edge1        rate: tbf on r1 (up) and m1 (down)
#          10.77.1.2       .1  10.78.1.1      10.78.1.2         loss: nftables in air1      delay: the relay
#   robot  r2 ...                                edge2          cut: nftables drops all, both ways, or m1 goes down

rig_need() { # says what is missing, exits 77
    echo "$1"
    exit 77
}

# What has to be there before anything is made. Nothing is left behind.
rig_check() {
    PATH=$PATH:/usr/sbin:/sbin
    [ "$(id -u)" -eq 0 ] || rig_need "needs root (network namespaces and a TUN device)"
    for word in ip tc nft unshare; do
        command -v $word >/dev/null || rig_need "needs the command $word"
    done
    [ -e /dev/net/tun ] || rig_need "needs /dev/net/tun"
    unshare --net --mount --pid --fork --kill-child true 2>/dev/null || rig_need "may not make network and process namespaces here"
    unshare --net --mount --pid --fork --kill-child --mount-proc sh -c '
        mount -t tmpfs tmpfs /run && mkdir /run/netns && ip netns add probe && ip link add name a type veth peer name b &&
        tc qdisc add dev a root tbf rate 1mbit burst 5kb latency 50ms && ip tuntap add dev t mode tun &&
        nft add table inet probe' 2>/dev/null || rig_need "may not make veth pairs, tbf queues, TUN devices and nftables here"
}

# $work, $BUILD and $top are set. A link is known by its number.
# Debian's default, cubic, where this kernel lets a namespace have it, else reno. CONGESTION=bbr for another.
tcp_set() { # tcp_set NAMESPACE
    for name in ${CONGESTION:-cubic reno}; do
        ip netns exec "$1" sh -c "echo $name >/proc/sys/net/ipv4/tcp_congestion_control" 2>/dev/null && return
    done
    echo "rig: no TCP congestion control of ${CONGESTION:-cubic reno}"
    return 1
}

rig_link() { # rig_link NUMBER
    n=$1
    ip netns add air$n && ip netns add edge$n && tcp_set edge$n || return 1
    ip -n robot link add name r$n type veth peer name m$n netns air$n || return 1
    ip -n robot addr add 10.77.$n.2/24 dev r$n && ip -n robot link set r$n up || return 1
    ip -n air$n addr add 10.77.$n.1/24 dev m$n && ip -n air$n link set m$n up && ip -n air$n link set lo up || return 1
    ip netns exec air$n sh -c 'echo 1 >/proc/sys/net/ipv4/ip_forward' || return 1
    mkfifo "$work/relay$n"
    "$BUILD/tests/net/relay" air$n:t$n edge$n:t$n <"$work/relay$n" >"$work/relay$n.log" 2>&1 &
    eval "exec $((2 + n))>\"\$work/relay$n\"" # open as long as this shell lives
    rig_wait 'grep -q ready "$work/relay$n.log"' || { cat "$work/relay$n.log"; return 1; }
    ip -n air$n addr add 10.78.$n.1/24 dev t$n && ip -n air$n link set t$n up mtu 1500 || return 1
    ip -n edge$n addr add 10.78.$n.2/24 dev t$n && ip -n edge$n link set t$n up mtu 1500 && ip -n edge$n link set lo up || return 1
    ip -n edge$n route add default via 10.78.$n.1 && ip -n robot route add 10.78.$n.0/24 via 10.77.$n.1 dev r$n || return 1
    ip netns exec air$n nft -f - <<NFT
table inet air {
    chain way { type filter hook forward priority 0; policy accept; }
}
NFT
}

rig_make() { # rig_make LINKS
    mount -t tmpfs tmpfs /run && mkdir /run/netns "$work" && ip netns add robot && ip -n robot link set lo up && tcp_set robot || return 1
    for k in $(seq "$1"); do
        rig_link "$k" || return 1
    done
}

rig_wait() { # rig_wait COMMAND [SECONDS]: until it succeeds
    tries=0
    until eval "$1"; do
        tries=$((tries + 1))
        [ $tries -lt $((${2:-30} * 20)) ] || return 1
        sleep 0.05
    done
}

# Bursts of two packets, or of a millisecond: a bucket that holds more would let a probe through as if there were no rate. A queue
# of 100 ms or 16 KiB, whichever is more.
rig_rate() { # rig_rate NUMBER KBIT: both ways
    eval "rate$1=$2"
    burst=$(($2 / 8)) queue=$(($2 * 100 / 8))
    [ $burst -ge 3200 ] || burst=3200
    [ $queue -ge 16384 ] || queue=16384
    for end in "robot r$1" "air$1 m$1"; do
        set -- "$1" "$2" $end
        tc -n "$3" qdisc replace dev "$4" root tbf rate "$2kbit" burst $burst limit $((queue + burst)) || return 1
    done
}

rig_delay() { # rig_delay NUMBER MS JITTER_MS: each way
    eval "echo delay $2 $3 >&$((2 + $1))"
}

rig_loss() { # rig_loss NUMBER PER_MILLE: each way
    ip netns exec air"$1" nft flush chain inet air way || return 1
    [ "$2" -eq 0 ] || ip netns exec air"$1" nft add rule inet air way numgen random mod 1000 '<' "$2" drop
}

# The radio is silent: packets vanish and nobody is told.
rig_cut() { ip netns exec air"$1" nft flush chain inet air way && ip netns exec air"$1" nft add rule inet air way drop; }
rig_restore() { rig_loss "$1" 0; }

# The cable is pulled: the interface says so.
rig_unplug() { ip -n air"$1" link set m"$1" down; }
rig_plug() { ip -n air"$1" link set m"$1" up; }

rig_sent() { # rig_sent NUMBER: bytes that the robot put on this link so far
    ip netns exec robot sed -n "s/^ *r$1: *//p" /proc/net/dev | tr -s ' ' | cut -d' ' -f9
}
