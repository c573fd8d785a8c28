// SPDX-License-Identifier: MIT OR Apache-2.0
// The host's side of guest.cu's comparison: a server on a Unix socket, as a remote CUDA server would be, and a proxy that
// takes TCP connections to it. Prints the port.
//
//     proxy SOCKET
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <thread>
#include <vector>

static bool put(int to, const char *data, size_t len) {
    while (len > 0) {
        ssize_t n = write(to, data, len);
        if (n <= 0) return false;
        data += n, len -= n;
    }
    return true;
}

static bool get(int from, char *data, size_t len) {
    while (len > 0) {
        ssize_t n = read(from, data, len);
        if (n <= 0) return false;
        data += n, len -= n;
    }
    return true;
}

static void serve(int client) {
    std::vector<char> data(1 << 20);
    char header[12];
    while (get(client, header, sizeof header)) {
        uint32_t operation;
        uint64_t len;
        std::memcpy(&operation, header, 4);
        std::memcpy(&len, header + 4, 8);
        bool well = true;
        for (uint64_t done = 0; well && done < len; done += data.size()) {
            size_t now = std::min<uint64_t>(len - done, data.size());
            if (operation != 3) well = get(client, data.data(), now);
            if (well && operation != 2) well = put(client, data.data(), now);
        }
        if (operation == 2) well = well && put(client, "d", 1);
        if (!well) break;
    }
    close(client);
}

static void pass_on(int from, int to) {
    std::vector<char> data(256 << 10);
    ssize_t n;
    while ((n = read(from, data.data(), data.size())) > 0 && put(to, data.data(), n)) {
    }
    shutdown(to, SHUT_WR);
}

int main(int argc, char **argv) {
    if (argc != 2) return 2;
    sockaddr_un path{};
    path.sun_family = AF_UNIX;
    std::strncpy(path.sun_path, argv[1], sizeof path.sun_path - 1);
    int server = socket(AF_UNIX, SOCK_STREAM, 0), listener = socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t len = sizeof address;
    if (bind(server, (sockaddr *)&path, sizeof path) || listen(server, 8) ||
        bind(listener, (sockaddr *)&address, len) || listen(listener, 8) ||
        getsockname(listener, (sockaddr *)&address, &len)) {
        std::perror("proxy");
        return 1;
    }
    std::printf("%d\n", ntohs(address.sin_port));
    std::fflush(stdout);
    std::thread([=] {
        for (int client; (client = accept(server, nullptr, nullptr)) >= 0;) std::thread(serve, client).detach();
    }).detach();
    for (int client; (client = accept(listener, nullptr, nullptr)) >= 0;) {
        int one = 1;
        setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        int other = socket(AF_UNIX, SOCK_STREAM, 0);
        if (connect(other, (sockaddr *)&path, sizeof path)) return 1;
        std::thread(pass_on, client, other).detach();
        std::thread(pass_on, other, client).detach();
    }
}
